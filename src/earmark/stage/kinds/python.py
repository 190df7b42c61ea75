"""Stages that are Python functions: `@stage`, synchronous (in a worker thread) or asynchronous."""

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, overload

from earmark.admission.call import Call, Grant, Reply
from earmark.errors import CallFailed, EarmarkError
from earmark.money import AmountLike, Money
from earmark.pricing.bound import Bound, DeclaredBound
from earmark.stage.kinds.kind import Tools

Function = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
