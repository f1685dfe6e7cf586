from google.protobuf import empty_pb2 as _empty_pb2
from protos import octane_types_pb2 as _octane_types_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApiInfo(_message.Message):
    __slots__ = ()
    class octaneVersionRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class octaneVersionResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: int
        def __init__(self, result: _Optional[int] = ...) -> None: ...
    class octaneNameRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class octaneNameResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    class isDemoVersionRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isDemoVersionResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class isSubscriptionVersionRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isSubscriptionVersionResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class tierIdxRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class tierIdxResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: int
        def __init__(self, result: _Optional[int] = ...) -> None: ...
    class renderPassNameRequest(_message.Message):
        __slots__ = ("id",)
        ID_FIELD_NUMBER: _ClassVar[int]
        id: _octane_types_pb2.RenderPassId
        def __init__(self, id: _Optional[_Union[_octane_types_pb2.RenderPassId, str]] = ...) -> None: ...
    class renderPassNameResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    class renderPassShortNameRequest(_message.Message):
        __slots__ = ("id",)
        ID_FIELD_NUMBER: _ClassVar[int]
        id: _octane_types_pb2.RenderPassId
        def __init__(self, id: _Optional[_Union[_octane_types_pb2.RenderPassId, str]] = ...) -> None: ...
    class renderPassShortNameResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    def __init__(self) -> None: ...

class GRPCProjectManagerObserverT(_message.Message):
    __slots__ = ("callbackSource", "callbackId", "userData")
    CALLBACKSOURCE_FIELD_NUMBER: _ClassVar[int]
    CALLBACKID_FIELD_NUMBER: _ClassVar[int]
    USERDATA_FIELD_NUMBER: _ClassVar[int]
    callbackSource: str
    callbackId: int
    userData: int
    def __init__(self, callbackSource: _Optional[str] = ..., callbackId: _Optional[int] = ..., userData: _Optional[int] = ...) -> None: ...

class ApiProjectManager(_message.Message):
    __slots__ = ()
    class isValidRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class isValidResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class rootNodeGraphRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class rootNodeGraphResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: _octane_types_pb2.ObjectRef
        def __init__(self, result: _Optional[_Union[_octane_types_pb2.ObjectRef, _Mapping]] = ...) -> None: ...
    class getCurrentProjectRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class getCurrentProjectResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: str
        def __init__(self, result: _Optional[str] = ...) -> None: ...
    class resetProjectRequest(_message.Message):
        __slots__ = ("suppressUI",)
        SUPPRESSUI_FIELD_NUMBER: _ClassVar[int]
        suppressUI: bool
        def __init__(self, suppressUI: _Optional[bool] = ...) -> None: ...
    class resetProjectResponse(_message.Message):
        __slots__ = ("result",)
        RESULT_FIELD_NUMBER: _ClassVar[int]
        result: bool
        def __init__(self, result: _Optional[bool] = ...) -> None: ...
    class addObserverRequest(_message.Message):
        __slots__ = ("observer",)
        OBSERVER_FIELD_NUMBER: _ClassVar[int]
        observer: GRPCProjectManagerObserverT
        def __init__(self, observer: _Optional[_Union[GRPCProjectManagerObserverT, _Mapping]] = ...) -> None: ...
    class addObserverResponse(_message.Message):
        __slots__ = ("callbackId",)
        CALLBACKID_FIELD_NUMBER: _ClassVar[int]
        callbackId: int
        def __init__(self, callbackId: _Optional[int] = ...) -> None: ...
    class removeObserverRequest(_message.Message):
        __slots__ = ("removeObserver",)
        REMOVEOBSERVER_FIELD_NUMBER: _ClassVar[int]
        removeObserver: GRPCProjectManagerObserverT
        def __init__(self, removeObserver: _Optional[_Union[GRPCProjectManagerObserverT, _Mapping]] = ...) -> None: ...
    def __init__(self) -> None: ...

class ApiChangeManager(_message.Message):
    __slots__ = ()
    class updateRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    def __init__(self) -> None: ...
