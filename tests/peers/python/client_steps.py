"""What the two test clients share: named steps, whose outcomes become one JSON document.

A test wants to see every answer of one conversation, so a step that fails is an entry of the
document and not the end of the run. A step that needs the result of a failed one says so.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import grpc.aio

STEP_TIMEOUT_S = 15
SECOND_EVENT_TIMEOUT_S = 1


class Skipped(Exception):
    """The step was not run, because an earlier one left nothing to work with."""


class Steps:
    """Runs steps one after the other and keeps their outcomes in order."""

    def __init__(self, details: Callable[[Exception], dict[str, Any]]) -> None:
        """`details` reads what a generation's errors say beyond their type and text."""
        self._details = details
        self._outcomes: dict[str, dict[str, Any]] = {}

    async def run(self, name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        """Runs `step` and returns its value, or `None` if it failed."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                value = await step()
        except TimeoutError:
            message = f'no answer within {STEP_TIMEOUT_S} s'
            self._outcomes[name] = {'ok': False, 'error': 'TimeoutError', 'message': message}
        except Exception as error:
            self._outcomes[name] = {
                'ok': False,
                'error': type(error).__name__,
                'message': str(error),
                **self._details(error),
            }
        else:
            self._outcomes[name] = {'ok': True, 'value': value}
            return value
        return None

    def print(self) -> None:
        print(json.dumps(self._outcomes, ensure_ascii=False))


def need(value: Any, step: str) -> Any:
    """Returns `value`, which `step` should have left behind."""
    if not value:
        raise Skipped(f'needs the result of the step {step!r}')
    return value


async def first_events(stream: AsyncIterator[Any]) -> list[Any]:
    """Returns the first event of `stream`, and the second one if it comes soon, then closes it."""
    async with aclosing(stream):
        events = [await anext(stream)]
        with suppress(TimeoutError, StopAsyncIteration):
            events.append(await asyncio.wait_for(anext(stream), SECOND_EVENT_TIMEOUT_S))
        return events


class _KeyOnUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds the bearer token to the calls with one answer."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(with_key(details, self._key), request)


class _KeyOnStream(grpc.aio.UnaryStreamClientInterceptor):
    """Adds the bearer token to the calls with a stream of answers."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_unary_stream(self, continuation, details, request):
        return await continuation(with_key(details, self._key), request)


def with_key(details: grpc.aio.ClientCallDetails, key: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add('authorization', f'Bearer {key}')
    return details._replace(metadata=metadata)


def channel_factory(key: str) -> Callable[[str], grpc.aio.Channel]:
    """Returns what opens a gRPC channel whose calls carry `key`."""
    interceptors = [_KeyOnUnary(key), _KeyOnStream(key)] if key else []
    return lambda target: grpc.aio.insecure_channel(target, interceptors=interceptors)


def parser(description: str) -> argparse.ArgumentParser:
    """Returns the arguments that both clients have."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument('--base', required=True, help='the URL below which the card is')
    arguments.add_argument('--key', default='', help='sent as the bearer token')
    arguments.add_argument('--binding', default='JSONRPC', choices=['JSONRPC', 'HTTP+JSON', 'GRPC'])
    arguments.add_argument(
        '--push-url', default='https://push.example.com/hook', help='where a config points'
    )
    return arguments
