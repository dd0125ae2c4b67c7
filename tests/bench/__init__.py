"""What the middleware costs, measured side by side: `make bench`. Not part of the tests.

Machines are noisy and differ, so whatever is compared runs in turns within one run, and the ratios are what to trust.
"""
