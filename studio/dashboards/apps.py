from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "studio.dashboards"
    label = "dashboards"
