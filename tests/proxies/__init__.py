"""The programs that stand before an application, or behind the gateway: real ones, on free loopback ports."""
