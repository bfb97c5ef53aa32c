"""A test agent of Google's ADK 2.13 with its `to_a2a`: JSON-RPC, A2A 1.0 and, unannounced, 0.3."""

import asyncio
import logging
import warnings
from collections.abc import AsyncGenerator

from google.adk.a2a.utils.agent_to_a2a import to_a2a
from google.adk.agents import BaseAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.events import Event
from google.genai.types import Content, Part

import agent_echo
import agent_process


class EchoAgent(BaseAgent):
    """Says the text again; with "stream" in it also word by word, as partial events."""

    async def _run_async_impl(self, context: InvocationContext) -> AsyncGenerator[Event, None]:
        def say(text: str, partial: bool) -> Event:
            return Event(
                invocation_id=context.invocation_id,
                author=self.name,
                partial=partial,
                content=Content(role='model', parts=[Part(text=text)]),
            )

        text = ''.join(part.text or '' for part in context.user_content.parts)
        whole = ''
        async for word in agent_echo.words(text):
            whole += word
            if 'stream' in text:
                yield say(word, partial=True)
        yield say(whole, partial=False)


async def main() -> None:
    sock = agent_process.bind()
    ready = agent_echo.ready_line(agent_process.origin_of(sock))
    host, port = sock.getsockname()
    with warnings.catch_warnings():
        # `to_a2a` calls itself experimental.
        warnings.simplefilter('ignore', UserWarning)
        app = to_a2a(EchoAgent(name='adk', description='Says it again.'), host=host, port=port)
    await agent_process.serve(app, sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
