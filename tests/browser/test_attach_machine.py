"""A real machine, behind a real OpenSSH server, is attached through the page with a key that was made here."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from compute.models import ComputeTarget, Examination
from studio.people.models import Allowance, User, Workspace
from tests.compute.tiny import looked_at
from tests.sshd import Sshd, scratch_user


@pytest.fixture
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)  # sshd reads what it authorizes as the user who signs in
    with scratch_user() as name:
        server = Sshd(folder, name).start()
        yield server
        server.stop()


def test_a_machine_is_attached_with_a_key_made_here_and_its_host_key_compared(
    page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None], sshd: Sshd
) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(allowances=list(Allowance.values))
    sign_in(page, ana)
    page.goto("/w/vision-team/compute/?tab=attached")
    page.locator(".head summary", has_text="Attach").click()
    page.get_by_role("link", name="Virtual machine").click()
    page.get_by_label("Name", exact=True).fill("bench-box")
    page.get_by_label("Host name or IP address").fill("127.0.0.1")
    page.get_by_label("SSH port").fill(str(sshd.port))
    page.get_by_label("User name").fill(sshd.username)
    page.get_by_role("button", name="Make a key pair here").click()
    line = re.search(r"echo '([^']+)'", page.locator("#authorize").inner_text())
    assert line
    sshd.let_in(line[1])
    page.get_by_role("button", name="Check the connection").last.click()
    doctor = page.locator("#doctor")
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    draft = looked_at(Examination.objects.latest("pk"))
    expect(doctor.locator(".fingerprint")).to_have_text(sshd.host_key["sha256"])
    doctor.get_by_role("button", name="It is the same: trust it").click()
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    looked_at(draft)
    expect(doctor.locator("li", has_text="Signing in")).to_have_class("ok")
    expect(doctor.get_by_role("button", name="Check again")).to_be_visible()  # every check was made: nothing moves
    doctor.get_by_role("button", name="Attach").click()
    expect(page).to_have_url(re.compile("/targets/bench-box/$"))
    target = ComputeTarget.objects.get(name="bench-box")
    assert target.config["host_key"] == sshd.host_key
    sshd.stop()
    sshd.make_host_key()
    sshd.start()
    page.goto("/w/vision-team/compute/targets/bench-box/?tab=connection")
    page.get_by_role("button", name="Check again").click()
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    looked_at(target.examinations.latest("pk"))
    changed = page.get_by_role("alert").filter(has_text="Another host key than the pinned one")
    expect(changed.locator("dd code")).to_have_text([target.config["host_key"]["sha256"], sshd.host_key["sha256"]])
    changed.get_by_role("button", name="It is right: accept the new key").click()
    expect(page.get_by_text("The new host key of bench-box is pinned")).to_be_visible()
    again = looked_at(target.examinations.latest("pk"))
    assert {check["state"] for check in again.checks if check["needed"]} <= {"ok", "warn"}


def test_what_was_typed_wrongly_is_said_beside_its_field(
    page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None], tmp_path: Path
) -> None:
    sign_in(page, ana)
    page.goto("/w/vision-team/compute/attach/VirtualMachine/")
    page.get_by_label("Name", exact=True).fill("box")
    page.get_by_label("Host name or IP address").fill("box; rm -rf /")
    page.get_by_label("SSH port").fill("99999")
    page.get_by_label("User name").fill("me")
    page.locator("#id_private_key").fill("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFbS28WD me@here")
    page.get_by_role("button", name="Check the connection").last.click()
    expect(page.locator("#id_address_error")).to_have_text("This is neither a host name nor an IP address.")
    expect(page.locator("#id_ssh_port_error")).to_be_visible()
    expect(page.get_by_label("Host name or IP address")).to_be_focused()  # the first that is wrong
    expect(page.locator("#id_private_key_error")).to_contain_text("This is the public half of a key.")
    assert not Examination.objects.exclude(sealed={}).exists()
    more = page.locator("details.more")
    expect(more).not_to_have_attribute("open", "")  # nothing in it is wrong
    more.locator("summary").click()
    there = page.get_by_label("The jump host’s address")
    expect(there).to_be_hidden()
    page.get_by_label("Jump host", exact=True).select_option("*")
    there.fill("gate.example.org")
    page.get_by_label("Jump host", exact=True).select_option("")
    expect(there).to_be_hidden()
    expect(there).to_have_value("")  # what is not seen is not meant
