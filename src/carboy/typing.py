"""Types for annotations, with the names that Flask gives them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Union

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

__all__ = (
    "AfterRequestCallable", "AppOrBlueprintKey", "BeforeFirstRequestCallable", "BeforeRequestCallable",
    "ErrorHandlerCallable", "HeaderValue", "HeadersValue", "ResponseClass", "ResponseReturnValue", "ResponseValue",
    "RouteCallable", "ShellContextProcessorCallable", "StatusCode", "TeardownCallable",
    "TemplateContextProcessorCallable", "TemplateFilterCallable", "TemplateGlobalCallable", "TemplateTestCallable",
    "URLDefaultCallable", "URLValuePreprocessorCallable", "WSGIApplication",
)  # fmt: skip

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Any]

#: What a view returns as the body.
ResponseValue = Union[
    Response, str, bytes, list[Any], Mapping[str, Any], Iterator[str], Iterator[bytes], AsyncIterator[str],
    AsyncIterator[bytes], WSGIApplication,
]  # fmt: skip
HeaderValue = Union[str, list[str], tuple[str, ...]]
HeadersValue = Union[Headers, Mapping[str, HeaderValue], Sequence[tuple[str, HeaderValue]]]
StatusCode = int
#: What a view returns.
ResponseReturnValue = Union[
    ResponseValue,
    tuple[ResponseValue, HeadersValue],
    tuple[ResponseValue, StatusCode],
    tuple[ResponseValue, StatusCode, HeadersValue],
    WSGIApplication,
]
ResponseClass = TypeVar("ResponseClass", bound=Response)

AppOrBlueprintKey = Union[str, None]
AfterRequestCallable = Union[Callable[[Any], Any], Callable[[Any], Awaitable[Any]]]
BeforeFirstRequestCallable = Union[Callable[[], None], Callable[[], Awaitable[None]]]
BeforeRequestCallable = Union[
    Callable[[], Union[ResponseReturnValue, None]], Callable[[], Awaitable[Union[ResponseReturnValue, None]]]
]
ShellContextProcessorCallable = Callable[[], dict[str, Any]]
TeardownCallable = Union[
    Callable[[Union[BaseException, None]], None], Callable[[Union[BaseException, None]], Awaitable[None]]
]
TemplateContextProcessorCallable = Union[Callable[[], dict[str, Any]], Callable[[], Awaitable[dict[str, Any]]]]
TemplateFilterCallable = Callable[..., Any]
TemplateGlobalCallable = Callable[..., Any]
TemplateTestCallable = Callable[..., bool]
URLDefaultCallable = Callable[[str, dict[str, Any]], None]
URLValuePreprocessorCallable = Callable[[Union[str, None], Union[dict[str, Any], None]], None]
ErrorHandlerCallable = Union[Callable[[Any], ResponseReturnValue], Callable[[Any], Awaitable[ResponseReturnValue]]]
RouteCallable = Union[Callable[..., ResponseReturnValue], Callable[..., Awaitable[ResponseReturnValue]]]
