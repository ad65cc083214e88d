from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Have the activity find compute targets."""
        from compute.history import links
        from studio.people import activity

        activity.register("target", links)
