"""How does a Django site keep records in its own database? `INSTALLED_APPS += ["lumin_middleware.stores.django"]`."""
