from django.apps import AppConfig


class QuotasConfig(AppConfig):
    name = "compute.quotas"
    label = "quotas"
