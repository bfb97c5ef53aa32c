"""What the agents of the frameworks answer, and the ready line of those that serve one endpoint.

A word in the text chooses the behaviour; README.md lists them.
"""

import asyncio
from collections.abc import AsyncIterator

SLOW_S = 3
BETWEEN_WORDS_S = 0.01


async def words(text: str) -> AsyncIterator[str]:
    """Yields "echo: " and `text` in pieces that make up the whole when joined."""
    if 'boom' in text:
        raise RuntimeError('the agent raised on request')
    if 'slow' in text:
        await asyncio.sleep(SLOW_S)
    yield 'echo:'
    for word in text.split(' '):
        await asyncio.sleep(BETWEEN_WORDS_S)
        yield ' ' + word


async def reply(text: str) -> str:
    return ''.join([word async for word in words(text)])


def ready_line(origin: str) -> dict[str, str]:
    """Returns the addresses of an agent that is served at the root of `origin`."""
    return {
        'url': origin,
        'rpc': f'{origin}/',
        'card': f'{origin}/.well-known/agent-card.json',
    }
