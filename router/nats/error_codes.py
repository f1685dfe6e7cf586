"""The error codes of JetStream's API that Callboard acts on, under the names of nats-server's `errors.json`."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """What `Refused.err_code` is compared with."""

    # JetStream system temporarily unavailable: no quorum.
    CLUSTER_NOT_AVAILABLE = 10008
    # JetStream cluster can not handle request: not the leader.
    CLUSTER_NOT_LEADER = 10009
    # General consumer creation failure.
    CONSUMER_CREATE = 10012
    CONSUMER_NOT_FOUND = 10014
    INSUFFICIENT_RESOURCES = 10023
    MEMORY_RESOURCES_EXCEEDED = 10028
    NO_MESSAGE_FOUND = 10037
    SEQUENCE_NOT_FOUND = 10043
    STORAGE_RESOURCES_EXCEEDED = 10047
    # General stream failure: also a purge of a stream whose store keeps a write error.
    STREAM_GENERAL_ERROR = 10051
    # A message is larger than the stream's own `max_msg_size`.
    MESSAGE_EXCEEDS_MAXIMUM = 10054
    # Also of a message that was deleted already.
    MESSAGE_DELETE_FAILED = 10057
    STREAM_NAME_EXISTS = 10058
    STREAM_NOT_FOUND = 10059
    WRONG_LAST_SEQUENCE = 10071
    # Everything that kept a stream from storing: "maximum messages (per subject) exceeded", "maximum bytes exceeded", but
    # also "raft: not leader".
    STREAM_STORE_FAILED = 10077
    # The stream takes no more messages, and never will: a reshard has put others in its place.
    STREAM_SEALED = 10109
    STREAM_OFFLINE = 10118
    # A durable exists whose configuration differs.
    CONSUMER_ALREADY_EXISTS = 10148
    # An earlier message with the same id was proposed by a leader and is not committed yet.
    DUPLICATE_MESSAGE_CONFLICT = 10158
    # As WRONG_LAST_SEQUENCE, where the server does not say which it is.
    WRONG_LAST_SEQUENCE_CONSTANT = 10164
    MESSAGE_TTL_DISABLED = 10166
    TOO_MANY_REQUESTS = 10167


# A message to be deleted is gone already.
GONE = (ErrorCode.SEQUENCE_NOT_FOUND, ErrorCode.MESSAGE_DELETE_FAILED)
# The newest message of the subject is another one than `Nats-Expected-Last-Subject-Sequence` names.
WRONG_LAST = (ErrorCode.WRONG_LAST_SEQUENCE, ErrorCode.WRONG_LAST_SEQUENCE_CONSTANT)
