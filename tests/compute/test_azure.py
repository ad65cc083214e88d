"""A workspace's sign-in to Azure: Azure's own libraries, against an Entra and a Resource Manager on loopback."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from compute import arm, azure
from compute.models import AzureSignIn
from studio.errors import CredentialsRejected, NotAllowedNow, StudioError, TargetUnreachable
from studio.people.models import Activity, User, Workspace
from studio.seal import seal
from tests.azure import CLIENT, SECRET, SUBSCRIPTION, TENANT, Entra, ResourceManager, certificate, signs_in

HOME = f"/subscriptions/{SUBSCRIPTION}"
FORM = {
    "way": "service-principal",
    "subscription_id": SUBSCRIPTION,
    "tenant_id": TENANT,
    "client_id": CLIENT,
    "client_secret": SECRET,
}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def entra(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    service = Entra(pem)
    yield service
    service.close()


@pytest.fixture
def manager(pem: Path) -> Iterator[ResourceManager]:
    service = ResourceManager(pem)
    yield service
    service.close()


@pytest.fixture
def signed_in(workspace: Workspace, entra: Entra, manager: ResourceManager) -> AzureSignIn:
    return signs_in(workspace, entra, resource_manager=manager.url)


def test_a_service_principal_signs_in(signed_in: AzureSignIn, workspace: Workspace) -> None:
    answer = azure.test(workspace)
    assert (answer.by, answer.tenant, answer.who) == ("ClientSecretCredential", TENANT, CLIENT)
    assert arm.may(workspace, HOME) == ["Microsoft.Batch/*", "*/read"]


def test_the_machines_own_sign_in_names_which_credential_answered(
    signed_in: AzureSignIn,
    workspace: Workspace,
    entra: Entra,
    manager: ResourceManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.url)
    monkeypatch.setattr(azure, "PUBLIC_RESOURCE_MANAGER", manager.url)
    real = azure.credential_for

    def without_discovery(where: Workspace) -> object:  # no cloud of Microsoft's knows this authority
        from azure import identity

        given = real(where)
        assert isinstance(given, identity.DefaultAzureCredential)
        return identity.DefaultAzureCredential(process_timeout=1, disable_instance_discovery=True, **azure.LIMITS)

    monkeypatch.setattr(azure, "credential_for", without_discovery)
    AzureSignIn.objects.update(way="default", authority="", resource_manager="", sealed={})
    assert azure.test(workspace).by == "EnvironmentCredential"


def test_a_wrong_secret_is_said_without_it(signed_in: AzureSignIn, workspace: Workspace) -> None:
    signed_in.sealed = {"client_secret": seal("wrong-secret", where=signed_in.place_of("client_secret"))}
    signed_in.save()
    with pytest.raises(CredentialsRejected) as caught:
        azure.test(workspace)
    assert "AADSTS7000215: Invalid client secret provided." in caught.value.message
    assert "Trace ID" not in caught.value.message
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("replies", "error", "words"),
    [
        ([(403, {}, b'{"error": {"message": "No authorization to read."}}')], CredentialsRejected, "No authorization"),
        ([(401, {}, b"{}")], CredentialsRejected, "HTTP 401"),
        ([(429, {"Retry-After": "0"}, b"{}")] * 2, TargetUnreachable, "HTTP 429"),
        ([(503, {}, b"")] * 2, TargetUnreachable, "HTTP 503"),
        ([(0, {}, b"")] * 2, TargetUnreachable, "Azure does not answer"),
        ([(200, {}, b"<html>")], TargetUnreachable, "Azure does not answer"),
        ([(200, {}, b"[]")], TargetUnreachable, "Azure does not answer"),
        ([(302, {"Location": "https://127.0.0.1:1/"}, b"")], TargetUnreachable, "HTTP 302"),
    ],
)
def test_what_goes_wrong_at_resource_manager_is_said_in_its_words(
    signed_in: AzureSignIn,
    workspace: Workspace,
    manager: ResourceManager,
    replies: list[tuple[int, dict[str, str], bytes]],
    error: type[StudioError],
    words: str,
) -> None:
    manager.instead = list(replies)
    with pytest.raises(error, match=words):
        arm.get(workspace, f"{HOME}/resourceGroups/here", "2021-04-01")
    assert manager.instead == []


def test_too_many_requests_are_waited_out(
    signed_in: AzureSignIn, workspace: Workspace, manager: ResourceManager
) -> None:
    manager.there[f"{HOME}/resourceGroups/here"] = {"name": "here"}
    manager.instead = [(429, {"Retry-After": "0"}, b"{}")]
    assert arm.get(workspace, f"{HOME}/resourceGroups/here", "2021-04-01") == {"name": "here"}


def test_addresses_of_the_studios_own_machine_are_refused_unless_allowed(
    signed_in: AzureSignIn, workspace: Workspace, entra: Entra
) -> None:
    workspace.allowances = []
    workspace.save()
    with pytest.raises(NotAllowedNow):
        azure.test(workspace)
    assert entra.asked == []


def test_a_workspace_without_a_sign_in_says_so(workspace: Workspace) -> None:
    with pytest.raises(NotAllowedNow, match="does not sign in to Azure yet"):
        azure.credential_for(workspace)


# ----- its page


def page(workspace: Workspace) -> str:
    return reverse("compute:azure", args=[workspace.name])


def test_an_owner_sets_it_up_and_the_secret_is_never_shown(ana: User, as_user, workspace: Workspace) -> None:
    browser: Client = as_user(ana)
    answer = browser.post(page(workspace), FORM)
    assert answer.status_code == 302
    row = AzureSignIn.objects.get()
    assert row.secret("client_secret") == SECRET
    assert SECRET not in str(row.sealed)
    assert SECRET not in browser.get(page(workspace)).text
    (noted,) = Activity.objects.filter(verb="workspace.azure")
    assert noted.detail["after"]["tenant_id"] == TENANT
    assert noted.detail["after"]["new_secret"] is True
    assert SECRET not in str(noted.detail)


def test_a_kept_secret_stays_and_goes_to_no_other_application(ana: User, as_user, workspace: Workspace) -> None:
    browser: Client = as_user(ana)
    browser.post(page(workspace), FORM)
    other = FORM["subscription_id"].replace("3", "4")
    assert browser.post(page(workspace), FORM | {"client_secret": "", "subscription_id": other}).status_code == 302
    row = AzureSignIn.objects.get()
    assert (row.subscription_id, row.secret("client_secret")) == (other, SECRET)
    for change in ({"authority": "https://evil.example.org"}, {"client_id": other}, {"tenant_id": other}):
        answer = browser.post(page(workspace), FORM | {"client_secret": ""} | change)
        assert answer.status_code == 422, change
        assert "Give the secret of this service principal" in answer.text


def test_the_machines_identity_goes_to_azures_own_addresses_alone(ana: User, as_user, workspace: Workspace) -> None:
    browser: Client = as_user(ana)
    browser.post(page(workspace), FORM)
    away = {"authority": "https://evil.example.org", "resource_manager": "https://evil.example.org"}
    assert browser.post(page(workspace), FORM | away | {"way": "managed-identity"}).status_code == 302
    row = AzureSignIn.objects.get()
    assert (row.authority, row.resource_manager, row.tenant_id, row.sealed) == ("", "", "", {})


@pytest.mark.parametrize(
    "change",
    [
        {"way": "none"},
        {"subscription_id": "prod"},
        {"subscription_id": ""},
        {"tenant_id": "", "client_id": ""},
        {"authority": "http://login.example.org"},
        {"authority": "https://"},
        {"resource_manager": "https://user:pass@example.org"},
        {"data_lake_analytics": "https://[::1"},
    ],
)
def test_what_cannot_be_right_is_refused(ana: User, as_user, workspace: Workspace, change: dict[str, str]) -> None:
    answer = as_user(ana).post(page(workspace), FORM | change)
    assert answer.status_code == 422
    assert not AzureSignIn.objects.exists()
    assert SECRET not in answer.text


def test_an_endpoint_keeps_the_place_of_the_accounts_name(ana: User, as_user, workspace: Workspace) -> None:
    typed = {"data_lake_analytics": "https://{account}.lake.example.org:8443/path"}
    as_user(ana).post(page(workspace), FORM | typed)
    assert AzureSignIn.objects.get().data_lake_analytics == "https://{account}.lake.example.org:8443"


def test_the_test_says_who_answered_and_what_it_may_do(
    ana: User, as_user, workspace: Workspace, signed_in: AzureSignIn, manager: ResourceManager
) -> None:
    url = reverse("compute:azure_test", args=[workspace.name])
    answer = as_user(ana).post(url, headers={"HX-Request": "true"})
    assert "ClientSecretCredential answered" in answer.text
    assert re.search(r"lasts until 20\d\d-\d\d-\d\d \d\d:\d\d UTC\.", answer.text)
    assert "Microsoft.Batch/*" in answer.text
    manager.actions = []
    assert "It may do nothing in subscription" in as_user(ana).post(url).text
    manager.instead = [(403, {}, b'{"error": {"message": "No authorization to read."}}')]
    answer = as_user(ana).post(url)
    assert "ClientSecretCredential answered" in answer.text
    assert "No authorization to read." in answer.text
