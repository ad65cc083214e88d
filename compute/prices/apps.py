from django.apps import AppConfig


class PricesConfig(AppConfig):
    name = "compute.prices"
    default_auto_field = "django.db.models.BigAutoField"
