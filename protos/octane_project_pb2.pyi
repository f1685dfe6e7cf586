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
    def __init__(self) -> None: ...

class ApiProjectManager(_message.Message):
    __slots__ = ()
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
    def __init__(self) -> None: ...

class ApiChangeManager(_message.Message):
    __slots__ = ()
    class updateRequest(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    def __init__(self) -> None: ...
