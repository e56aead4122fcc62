"""Alerts over HTTP: a test of every channel, and how they do."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from bartos.alerting import Alerting
from bartos.api.actions import User
from bartos.api.given import Given
from bartos.api.models import moment
from bartos.channels import NAMES

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])


class TestAsked(BaseModel):
    """A test message, please."""

    __test__ = False

    model_config = ConfigDict(extra="forbid")
    channel: str | None = Field(
        default=None,
        max_length=20,
        description=f"one channel ({', '.join(NAMES)}); left out: all that are configured",
    )


class Tried(BaseModel):
    """What came of the message in a channel."""

    channel: str
    place: str = Field(description="where the channel leads; without any secret")
    ok: bool
    said: str = Field(description="what was answered, or why it did not go through")
    seconds: float = Field(description="how long it took")


class Beat(BaseModel):
    """The last heartbeat."""

    at: datetime
    ok: bool
    said: str = Field(description="what was answered, or why none went out")


class Tested(BaseModel):
    """What came of the test."""

    ok: bool = Field(description="whether it went through everywhere")
    channels: list[Tried]
    heartbeat: Beat | None = Field(description="null where none is configured, or none was due yet")


class ChannelState(BaseModel):
    """A channel, and how it does."""

    channel: str
    place: str = Field(description="where it leads; without any secret")
    error: str = Field(description="why the last try failed; empty where it did not")
    waiting: int = Field(description="messages that are to go by it yet")


class Channels(BaseModel):
    """The channels that are configured."""

    channels: list[ChannelState]
    heartbeat: Beat | None


@router.get("")
async def channels(given: Given) -> Channels:
    """By which ways alerts go, and how those do."""
    return Channels(
        channels=[
            ChannelState(channel=one.channel, place=one.place, error=one.error, waiting=one.waiting)
            for one in await given.alerting.states()
        ],
        heartbeat=_beat(given.alerting),
    )


@router.post("/test", responses={409: {}})
async def test(given: Given, asked: TestAsked, who: User) -> Tested:
    """Send a message that says it is a test, and tell what came of it in each channel."""
    tried = await given.alerting.test(who, asked.channel)
    return Tested(
        ok=all(one.ok for one in tried),
        channels=[
            Tried(
                channel=one.channel,
                place=one.place,
                ok=one.ok,
                said=one.said,
                seconds=round(one.seconds, 3),
            )
            for one in tried
        ],
        heartbeat=_beat(given.alerting),
    )


def _beat(alerting: Alerting) -> Beat | None:
    beat = alerting.beat
    return None if beat is None else Beat(at=moment(beat.at), ok=beat.ok, said=beat.said)
