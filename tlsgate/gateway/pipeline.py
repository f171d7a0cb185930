"""The way of one request, read top to bottom; knows the order, not what a step does.

Source: decisions 2.1; API definitions reference, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from tlsgate.errors import Refusal, UpstreamError
from tlsgate.gates.base import Reply
from tlsgate.proxy.waiter import Work

if TYPE_CHECKING:
    from tlsgate.gateway.compile import CompiledApi
    from tlsgate.gateway.request import GateRequest

__all__ = ["start"]

_log = Logger()


def start(request: GateRequest, compiled: CompiledApi, site: Any) -> None:
    """Run the pipeline; the client's disappearance cancels it.

    :param site: ``gateway.site.Site``: is told of the end, once.
    """
    work = Work(serve(request, compiled, site))
    if not work.done:
        request.work = work


async def serve(request: GateRequest, compiled: CompiledApi, site: Any) -> None:
    """Serve one routed request."""
    # Whatever is at work; so the end of a request names its step at no cost while nothing ends.
    at: Any = compiled.misdirected
    try:
        try:
            if at is not None:
                at(request)
            for at in compiled.gates:
                at(request)
            for at in compiled.steps:
                if not at.try_now(request):
                    await at.finish(request)
            at = compiled.mock
            if at is not None:
                at(request)
            at = compiled.leaf
            await at(request)
        except Reply as reply:
            request.stopped = at
            headers = [*reply.headers, *request.response_headers, *(request.limit_headers or ())]
            request.channel.respond(request, reply.status, headers, reply.body)
        except Refusal as refusal:
            request.stopped = at
            refuse(request, compiled, refusal)
        except UpstreamError as problem:
            request.stopped = at
            request.flag = problem.flag
            refuse(request, compiled, Refusal(problem.refusal, problem.reason))
    except CancelledError:
        request.stopped = at
        request.refusal = "client.gone"
        request.flag = "CDC"
        request.status = 499
    except Exception:
        request.stopped = at
        _log.failure(
            "request {request} of API {api} failed", event="pipeline.error", request=site.request_id(request), api=compiled.api.api_id
        )
        _give_up(request, compiled)
    finally:
        request.work = None
        if request.held is not None:
            request.held.close()
        if request.status != 101:
            site.finished(request)
        else:
            site.upgraded(request)


def _give_up(request: GateRequest, compiled: CompiledApi) -> None:
    """Answer 500; where not even that can be sent, cut the connection: nobody waits for ever."""
    # What could not be sent may be among these.
    request.response_headers = []
    try:
        refuse(request, compiled, Refusal("internal", "unexpected error", close=True))
    except Exception:
        _log.failure("the answer to a failed request failed", event="pipeline.error")
        request.channel.abort("no answer could be made")


def refuse(request: GateRequest, compiled: Any, refusal: Refusal) -> None:
    """Answer with an entry of the catalogue, or break an answer off that has begun."""
    request.refusal = refusal.id
    if refusal.detail:
        request.detail = refusal.detail
    channel = request.channel
    if channel.begun(request):
        channel.break_off(request, refusal.detail)
        return
    if refusal.close:
        request.keep_alive = False
    status, headers, body, flag = compiled.errors.render(refusal, request)
    if not request.flag:
        request.flag = flag
    if request.response_headers:
        headers = headers + request.response_headers
    channel.respond(request, status, headers, body)
