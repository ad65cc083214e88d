"""What webhooks are sent: a name with markup in it is a name in every format."""

import json
from typing import Any

import pytest

from studio.notifications import formats
from studio.notifications.events import Event
from studio.notifications.models import Format, Notice

pytestmark = pytest.mark.django_db
NAME = "<script>*x*</script>\n<!channel> @channel [a](https://evil.example) `b` <@U1>"
ONE_LINE = NAME.replace("\n", " ")


@pytest.fixture
def notice(workspace) -> Notice:
    return Notice.objects.create(
        workspace=workspace,
        event=Event.RUN_FAILED,
        title=f"Run {NAME} failed",
        text=f"{NAME} ended.",
        hint="The last lines of its log say why.",
        path="/w/vision-team/runs/digits_1/",
        facts={"Target": NAME, "Empty": ""},
        data={"run_id": "digits_1"},
    )


def body(notice: Notice, kind: str, language: str = "en") -> Any:
    return json.loads(formats.body_of(notice, kind, language))


def test_json_has_type_time_and_data(notice):
    said = body(notice, Format.JSON)
    assert (said["type"], said["timestamp"]) == ("run.failed", notice.at.isoformat())
    assert said["data"]["run_id"] == "digits_1"
    assert said["data"]["title"] == f"Run {ONE_LINE} failed"
    assert said["data"]["url"].endswith("/w/vision-team/runs/digits_1/")
    assert body(notice, Format.JSON, "es")["data"]["hint"] == "Las últimas líneas de su registro dicen por qué."


def test_slack_mentions_nobody_and_links_nowhere_else(notice):
    said = body(notice, Format.SLACK)
    assert "<" not in said["text"]
    assert "@channel" not in json.dumps(said, ensure_ascii=False)
    *plain, link = said["blocks"]
    texts = [field for block in plain for field in [block.get("text"), *block.get("fields", [])] if field]
    assert {text["type"] for text in texts} == {"plain_text"}
    assert len(plain[0]["text"]["text"]) <= 150
    assert link["text"]["text"].endswith("/w/vision-team/runs/digits_1/|Open it in Compute Studio>")


def test_a_card_for_teams_reads_no_name_as_markdown(notice):
    card = body(notice, Format.TEAMS)["attachments"][0]["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert f"Run {ONE_LINE} failed" in [run["text"] for run in runs]
    assert [action["url"].rpartition("/w/")[2] for action in card["actions"]] == ["vision-team/runs/digits_1/"]
    assert len(json.dumps(card)) < 28_000


def test_what_is_long_is_cut(notice):
    notice.title = notice.text = "x" * 5000
    assert len(body(notice, Format.SLACK)["blocks"][0]["text"]["text"]) == 150
    assert len(formats.body_of(notice, Format.JSON, "en")) < 20_000
