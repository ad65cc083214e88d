"""Addresses of the second step: those of the accounts library that are used, by the names it looks for."""

from django.urls import path

from studio.people.second_step import authenticate, index, later, owed, remove_passkey, sign_in_by_passkey

_BASE, _TOTP = "allauth.mfa.base.views", "allauth.mfa.totp.views"
_CODES, _KEYS = "allauth.mfa.recovery_codes.views", "allauth.mfa.webauthn.views"

urlpatterns = [
    path("", index, name="mfa_index"),
    path("first/", owed, name="mfa_owed"),
    path("authenticate/", authenticate, name="mfa_authenticate"),
    path("reauthenticate/", later(f"{_BASE}.reauthenticate"), name="mfa_reauthenticate"),
    path("app/add/", later(f"{_TOTP}.activate_totp"), name="mfa_activate_totp"),
    path("app/remove/", later(f"{_TOTP}.deactivate_totp"), name="mfa_deactivate_totp"),
    path("codes/", later(f"{_CODES}.view_recovery_codes"), name="mfa_view_recovery_codes"),
    path("codes/new/", later(f"{_CODES}.generate_recovery_codes"), name="mfa_generate_recovery_codes"),
    path("passkeys/", index, name="mfa_list_webauthn"),
    path("passkeys/add/", later(f"{_KEYS}.add_webauthn"), name="mfa_add_webauthn"),
    path("passkeys/login/", sign_in_by_passkey, name="mfa_login_webauthn"),
    path("passkeys/reauthenticate/", later(f"{_KEYS}.reauthenticate_webauthn"), name="mfa_reauthenticate_webauthn"),
    path("passkeys/<int:pk>/edit/", later(f"{_KEYS}.edit_webauthn"), name="mfa_edit_webauthn"),
    path("passkeys/<int:pk>/remove/", remove_passkey, name="mfa_remove_webauthn"),
]
