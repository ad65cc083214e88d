from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "studio.signin"
    label = "signin"
