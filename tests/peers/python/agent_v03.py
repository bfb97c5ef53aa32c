"""A native A2A 0.3 test agent, made with a2a-sdk 0.3.26: JSON-RPC, HTTP+JSON and gRPC.

The prefix of `message.messageId` chooses what the agent does, as in `agent_v1.py`; README.md lists
the prefixes.
"""

import argparse
import asyncio
import base64
import logging
import re

import a2a.types
import grpc.aio
import httpx
from a2a.grpc import a2a_pb2_grpc
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from a2a.utils.errors import ServerError
from starlette.applications import Starlette

import agent_process

HOLD_S = 6
DATA = {
    'name': 'report',
    'count': 42,
    'ratio': 0.5,
    'none': None,
    'nested': {'none': None, 'flag': True, 'empty': {}},
    'list': [1, None, 'two', [3]],
}


def text_part(text: str = 'generated text') -> Part:
    return Part(root=TextPart(text=text))


def file_part() -> Part:
    # These bytes are no UTF-8, and their base64 has both of the characters `+` and `/`.
    body = base64.b64encode(b'\xfb\xef\xbe\xff\x00 file body\n').decode()
    file = FileWithBytes(bytes=body, name='output.bin', mime_type='application/octet-stream')
    return Part(root=FilePart(file=file))


def url_part() -> Part:
    file = FileWithUri(
        uri='https://example.com/output.txt', name='output.txt', mime_type='text/plain'
    )
    return Part(root=FilePart(file=file))


def data_part() -> Part:
    return Part(root=DataPart(data=DATA))


ARTIFACTS = {
    'artifact-text-': text_part,
    'artifact-file-': file_part,
    'artifact-url-': url_part,
    'artifact-data-': data_part,
}


def text_of(message: Message) -> str:
    return ''.join(p.root.text for p in message.parts if isinstance(p.root, TextPart))


def received(message: Message) -> list[Part]:
    """Returns the file parts of `message`, and a text that says which bytes they hold."""
    files = [part for part in message.parts if isinstance(part.root, FilePart)]
    encoded = [getattr(part.root.file, 'bytes', '') for part in files]
    body = b''.join(base64.b64decode(text) for text in encoded)
    return [*files, text_part(f'received {len(body)} bytes: {body[:8].hex()}')]


def error_named(name: str) -> ServerError:
    """Returns the A2A error called `name`, with or without the suffix "Error"."""
    name = name.strip().removesuffix('Error') + 'Error'
    error = getattr(a2a.types, name, None)
    if error is None:
        raise ValueError(f'A2A 0.3 has no error called {name!r}')
    return ServerError(error=error(message=f'asked for: {name}'))


class Executor(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        message_id = message.message_id
        if message_id.startswith('error-'):
            raise error_named(text_of(message))
        if message_id.startswith('message-'):
            await event_queue.enqueue_event(
                Message(
                    role=Role.agent,
                    message_id='reply-' + message_id,
                    context_id=context.context_id,
                    parts=[text_part('echo: ' + text_of(message))],
                    metadata=message.metadata,
                )
            )
            return
        if context.current_task is None:
            await event_queue.enqueue_event(
                Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=TaskStatus(state=TaskState.submitted),
                    history=[message],
                    metadata=message.metadata,
                )
            )
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        try:
            await self._work(message, updater)
        except asyncio.CancelledError:
            # The 0.3 SDK closes the queue only after a normal return, and open streams wait for
            # that. The canceled state comes from `cancel`.
            return

    async def _work(self, message: Message, task: TaskUpdater) -> None:
        message_id = message.message_id

        def say(text: str) -> Message:
            return task.new_agent_message([text_part(text)])

        for prefix, part in ARTIFACTS.items():
            if message_id.startswith(prefix):
                await task.add_artifact([part()], artifact_id='a1', name='out', last_chunk=True)
                await task.complete()
                return
        if chunks := re.match(r'chunks-(\d+)-(\d+)-(\d+)-', message_id):
            await self._stream_chunks(task, *map(int, chunks.groups()))
        elif message_id.startswith('file-'):
            await task.add_artifact(received(message), artifact_id='a1', name='out')
            await task.complete()
        elif message_id.startswith('input-'):
            # A2A 0.3 ends the stream of an interrupted task, so this update is final.
            await task.requires_input(say('more input please'), final=True)
        elif message_id.startswith('reject-'):
            await task.reject(say('rejected on request'))
        elif message_id.startswith('fail-'):
            await task.start_work()
            await task.failed(say('failed on request'))
        elif message_id.startswith('raise-'):
            await task.start_work()
            raise RuntimeError('the executor raised on request')
        elif message_id.startswith('hold-'):
            await task.start_work()
            await asyncio.sleep(HOLD_S)
            await task.complete(say('held to the end'))
        else:
            await task.complete(say('echo: ' + text_of(message)))

    async def _stream_chunks(self, task: TaskUpdater, count: int, size: int, delay_ms: int) -> None:
        await task.start_work()
        for i in range(count):
            await task.add_artifact(
                [text_part('x' * size)],
                artifact_id='a1',
                append=i > 0,
                last_chunk=i == count - 1,
            )
            await asyncio.sleep(delay_ms / 1000)
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def make_card(ready: dict[str, str], args: argparse.Namespace) -> AgentCard:
    return AgentCard(
        name='Test agent v03',
        description='Behaves as the prefix of messageId asks (a2a-sdk 0.3.26).',
        version='1.0.0',
        protocol_version='0.3.0',
        provider=AgentProvider(organization='Switchboard tests', url='https://example.com'),
        url=ready['jsonrpc'],
        preferred_transport='JSONRPC',
        additional_interfaces=[
            AgentInterface(transport='JSONRPC', url=ready['jsonrpc']),
            AgentInterface(transport='HTTP+JSON', url=ready['rest']),
            AgentInterface(transport='GRPC', url=ready['grpc']),
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=args.push),
        supports_authenticated_extended_card=args.ext_card,
        default_input_modes=['text/plain'],
        default_output_modes=['text/plain'],
        skills=[AgentSkill(id='echo', name='Echo', description='Says it again.', tags=['test'])],
    )


def make_extended(card: AgentCard) -> AgentCard:
    """Returns `card` with one more skill, so that a test can tell the two apart."""
    extended = card.model_copy(deep=True)
    extended.skills.append(
        AgentSkill(id='extended', name='Extended', description='For known callers.', tags=['test'])
    )
    return extended


def make_handler(args: argparse.Namespace) -> DefaultRequestHandler:
    optional = {}
    if args.push:
        configs = InMemoryPushNotificationConfigStore()
        optional['push_config_store'] = configs
        optional['push_sender'] = BasePushNotificationSender(
            httpx_client=httpx.AsyncClient(), config_store=configs
        )
    return DefaultRequestHandler(
        agent_executor=Executor(), task_store=InMemoryTaskStore(), **optional
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--push', action='store_true', help='support push notifications')
    parser.add_argument('--ext-card', action='store_true', help='support the extended card')
    args = parser.parse_args()

    sock = agent_process.bind()
    grpc_server = grpc.aio.server()
    grpc_port = grpc_server.add_insecure_port(f'{agent_process.HOST}:0')
    ready = agent_process.ready_line(agent_process.origin_of(sock), grpc_port)

    card = make_card(ready, args)
    handler = make_handler(args)
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(card, handler), grpc_server)
    await grpc_server.start()

    served = {
        'agent_card': card,
        'http_handler': handler,
        'extended_agent_card': make_extended(card) if args.ext_card else None,
    }
    app = Starlette()
    A2AStarletteApplication(**served).add_routes_to_app(app, rpc_url='/a2a/jsonrpc')
    app.mount('/a2a/rest', A2ARESTFastAPIApplication(**served).build())
    await agent_process.serve(app, sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
