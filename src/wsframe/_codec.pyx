# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: auto_pickle=False, autotestdict=False, binding=False, embedsignature=True, embedsignature.format=clinic
"""The compiled core: frames to messages, messages to frames (RFC 6455 section 5), one crossing per received
chunk.

It must not know a socket, a clock, a log, or what a message means. `_pure.py` is the same in plain Python.
"""

import os

cimport cython
from cpython.buffer cimport PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.buffer cimport PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_CheckExact, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check, PyUnicode_CheckExact
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .types import (
    DEFAULT_MAX_FRAGMENTS as _DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MAX_MESSAGE_BYTES as _DEFAULT_MAX_MESSAGE_BYTES,
    Close,
    CloseCode,
    ConnectionClosed,
    Fault,
    Fragment,
    Header,
    Opcode,
    Ping,
    Pong,
    Role,
    may_be_on_the_wire,
)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *PyUnicode_DATA(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    PyObject *raw_text_new "PyUnicode_New"(Py_ssize_t, Py_UCS4) except NULL
    void *raw_text_data "PyUnicode_DATA"(PyObject *)
    int text_resize "PyUnicode_Resize"(PyObject **, Py_ssize_t) except -1
    # The raw forms: a bytes object under construction has one owner and is not shown to Python code.
    PyObject *raw_bytes_new "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    char *raw_bytes_data "PyBytes_AS_STRING"(PyObject *)
    void Py_XDECREF(PyObject *)
    void Py_INCREF(PyObject *)

cdef extern from *:
    """
    /* As _PyBytes_Resize, which frees the bytes where it finds no memory for their new size: here they stay as they
     * were. They have one owner and no hash yet. */
    static int wsf_bytes_resize(PyObject **data, Py_ssize_t size) {
        PyObject *resized;
    #if defined(PYPY_VERSION) || defined(Py_TRACE_REFS)
        /* Where objects stand in lists of the interpreter's they do not move. */
        resized = PyBytes_FromStringAndSize(NULL, size);
        if (resized == NULL) return -1;
        memcpy(PyBytes_AS_STRING(resized), PyBytes_AS_STRING(*data),
               (size_t)(size < PyBytes_GET_SIZE(*data) ? size : PyBytes_GET_SIZE(*data)));
        Py_DECREF(*data);
    #else
        const size_t head = offsetof(PyBytesObject, ob_sval) + 1; /* the last byte is a NUL behind the others */
        resized = (PyObject *)PyObject_Realloc(*data, head + (size_t)size);
        if (resized == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        Py_SET_SIZE((PyVarObject *)resized, size);
        PyBytes_AS_STRING(resized)[size] = 0;
    #endif
        *data = resized;
        return 0;
    }

    /* Cython's `except` clauses take a traceback for granted, which an exception without memory lacks: so exceptions
     * are told apart and kept here. */

    /* 1 when the bytes are not UTF-8. */
    static int wsf_decode(const uint8_t *p, Py_ssize_t n, PyObject **text) {
        *text = PyUnicode_DecodeUTF8((const char *)p, n, NULL);
        if (*text != NULL) return 0;
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return -1;
        PyErr_Clear();
        return 1;
    }

    /* A view that somebody still has a buffer of is not released. */
    static void wsf_release(PyObject *view, PyObject *name) {
        PyObject *done = PyObject_CallMethodNoArgs(view, name);
        if (done == NULL) PyErr_Clear();
        Py_XDECREF(done);
    }

    /* The exception that is under way, which is under way no more. */
    static PyObject *wsf_take_exception(void) {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (traceback != NULL) PyException_SetTraceback(value, traceback);
        Py_XDECREF(type);
        Py_XDECREF(traceback);
        return value;
    #endif
    }

    static int wsf_raise(PyObject *value) {
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException(Py_NewRef(value));
    #else
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(value)), Py_NewRef(value), PyException_GetTraceback(value));
    #endif
        return -1;
    }
    """
    int bytes_resize "wsf_bytes_resize"(PyObject **, Py_ssize_t) except -1
    bint not_utf8 "wsf_decode"(const uint8_t *, Py_ssize_t, PyObject **) except -1
    void release "wsf_release"(object view, str name)
    object take_exception "wsf_take_exception"()
    int raise_again "wsf_raise"(object) except -1

cdef extern from "_mask.h":
    const char *wsf_mask_name() nogil
    uint32_t wsf_mask_at(const uint8_t *mask, uint64_t offset) nogil
    int wsf_xor(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask) nogil

cdef extern from "_utf8.h":
    ctypedef struct Utf8 "wsf_utf8":
        uint8_t missing
        uint8_t lowest
        uint8_t highest
    bint wsf_has_avx2() nogil
    bint wsf_utf8_ok(Utf8 *state, const uint8_t *p, size_t n) nogil
    size_t wsf_utf8_count(const uint8_t *p, size_t n, uint8_t *top) nogil
    void wsf_utf8_widen(const uint8_t *p, size_t n, uint16_t *out, size_t chars) nogil
    void wsf_utf8_make_tables() nogil

cdef enum:
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
    MAX_HEADER = 14
    MAX_CONTROL_PAYLOAD = 125
    # From this many missing bytes on a payload is received in place: below it one copy costs less than a
    # view.
    LARGE_PAYLOAD = 16384
    # Output taken from the inflater at a time, so that its own buffers stay small beside the message.
    INFLATE_PIECE = 65536
    # From so many bytes on text that is known to be UTF-8 is turned into a str by vectors (measured).
    DECODED_FROM = 64
    # The least storage a partial message takes; above it never more than twice what came.
    SMALLEST_STORAGE = 64
    # The least an outbox takes for a second frame: sixteen small ones.
    SMALLEST_OUTBOX = 512
    # Up to here bytes that several outboxes share are joined by copying them whole.
    JOINED_MAX = 4096

cdef enum Phase:
    IN_HEADER
    IN_PAYLOAD
    AFTER_CLOSE
    AFTER_FAULT

MASK_IMPLEMENTATION = wsf_mask_name().decode()
IMPLEMENTATION = "cython"
wsf_utf8_make_tables()


# --- masking (section 5.3) ------------------------------------------------------------------------

cdef inline uint32_t _mask_word(mask, uint64_t offset) except? 0:
    if not PyBytes_CheckExact(mask):
        raise TypeError(f"mask must be bytes, not {type(mask).__name__}")
    if PyBytes_GET_SIZE(mask) != 4:
        raise ValueError(f"mask must be 4 bytes, not {PyBytes_GET_SIZE(mask)}")
    return wsf_mask_at(<const uint8_t *>PyBytes_AS_STRING(mask), offset)


def apply_mask(data, mask):
    """Return data XOR mask (section 5.3)."""
    cdef uint32_t word = _mask_word(mask, 0)
    cdef Py_buffer view
    cdef bytes out
    if PyBytes_CheckExact(data):
        out = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(data))
        wsf_xor(<uint8_t *>PyBytes_AS_STRING(out), <const uint8_t *>PyBytes_AS_STRING(data),
                PyBytes_GET_SIZE(data), word)
        return out
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        out = PyBytes_FromStringAndSize(NULL, view.len)
        wsf_xor(<uint8_t *>PyBytes_AS_STRING(out), <const uint8_t *>view.buf, view.len, word)
    finally:
        PyBuffer_Release(&view)
    return out


def apply_mask_inplace(buffer, mask, long long offset=0):
    """XOR a writable buffer with mask; `offset` is the place of its first byte in the payload."""
    if offset < 0:
        raise ValueError("offset must not be negative")
    cdef uint32_t word = _mask_word(mask, offset)
    cdef Py_buffer view
    if PyByteArray_CheckExact(buffer):
        wsf_xor(<uint8_t *>PyByteArray_AS_STRING(buffer), <const uint8_t *>PyByteArray_AS_STRING(buffer),
                PyByteArray_GET_SIZE(buffer), word)
        return
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    wsf_xor(<uint8_t *>view.buf, <const uint8_t *>view.buf, view.len, word)
    PyBuffer_Release(&view)


# --- encoding (section 5.2) -----------------------------------------------------------------------

cdef inline Py_ssize_t _put_header(uint8_t *out, int opcode, uint64_t length, bint fin, bint rsv1,
                                   bint masked) noexcept:
    """Write the first two bytes and the extended length; the mask is the caller's. Returns the bytes
    written.
    """
    cdef int i
    out[0] = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    if length < 126:
        out[1] = (0x80 if masked else 0) | <uint8_t>length
        return 2
    if length < 65536:
        out[1] = (0x80 if masked else 0) | 126
        out[2] = <uint8_t>(length >> 8)
        out[3] = <uint8_t>length
        return 4
    out[1] = (0x80 if masked else 0) | 127
    for i in range(8):
        out[2 + i] = <uint8_t>(length >> (56 - 8 * i))
    return 10


cdef int _check_sendable(int opcode, uint64_t length, bint fin, bint rsv1) except -1:
    if opcode < 0 or opcode > PONG or (BINARY < opcode < CLOSE):
        raise ValueError(f"opcode {opcode} is not defined by RFC 6455 section 5.2")
    if opcode >= CLOSE:
        if length > MAX_CONTROL_PAYLOAD:
            raise ValueError("payload of a control frame must be 125 bytes or less (RFC 6455 section 5.5)")
        if not fin:
            raise ValueError("fin must be set on a control frame (RFC 6455 section 5.5)")
        if rsv1:
            raise ValueError("rsv1 must not be set on a control frame (RFC 7692 section 6.1)")
    elif opcode == CONTINUATION and rsv1:
        raise ValueError("rsv1 must not be set on a continuation frame (RFC 7692 section 6.1)")
    return 0


cdef bytes _frame(int opcode, const uint8_t *payload, Py_ssize_t length, const uint32_t *mask, bint fin,
                  bint rsv1):
    """One whole frame. `mask` is the four bytes as a word in memory order, NULL for none."""
    cdef uint8_t header[MAX_HEADER]
    if opcode != TEXT and opcode != BINARY:
        _check_sendable(opcode, length, fin, rsv1)
    cdef Py_ssize_t size = _put_header(header, opcode, length, fin, rsv1, mask != NULL)
    if mask != NULL:
        memcpy(header + size, mask, 4)
        size += 4
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size + length)
    cdef uint8_t *place = <uint8_t *>PyBytes_AS_STRING(out)
    memcpy(place, header, size)
    if mask == NULL:
        memcpy(place + size, payload, length)
    else:
        wsf_xor(place + size, payload, length, mask[0])
    return out


cdef bytes _frame_of(int opcode, payload, const uint32_t *mask, bint fin, bint rsv1):
    cdef Py_buffer view
    if PyBytes_CheckExact(payload):
        return _frame(opcode, <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload),
                      mask, fin, rsv1)
    if PyUnicode_Check(payload):
        if PyUnicode_IS_COMPACT_ASCII(payload):
            return _frame(opcode, <const uint8_t *>PyUnicode_DATA(payload), PyUnicode_GET_LENGTH(payload),
                          mask, fin, rsv1)
        encoded = PyUnicode_AsUTF8String(payload)
        return _frame(opcode, <const uint8_t *>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded),
                      mask, fin, rsv1)
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        frame = _frame(opcode, <const uint8_t *>view.buf, view.len, mask, fin, rsv1)
    finally:
        PyBuffer_Release(&view)
    return frame


def encode_frame(int opcode, payload, mask=None, bint fin=True, bint rsv1=False):
    """Return one whole frame; a str payload is sent as UTF-8."""
    cdef uint32_t word
    if mask is None:
        return _frame_of(opcode, payload, NULL, fin, rsv1)
    word = _mask_word(mask, 0)
    return _frame_of(opcode, payload, &word, fin, rsv1)


def encode_message(message):
    """Return one whole unmasked frame: text for str, binary for any buffer."""
    return _frame_of(TEXT if PyUnicode_Check(message) else BINARY, message, NULL, True, False)


def encode_header(int opcode, length, mask=None, bint fin=True, bint rsv1=False):
    """Return the header of a frame whose payload of `length` bytes the caller sends (and masks) apart."""
    cdef uint8_t header[MAX_HEADER]
    cdef uint32_t word
    # Any length that the wire can carry, whatever an address of this machine can.
    length = PyNumber_Index(length)
    if not 0 <= length < 1 << 63:
        raise ValueError("length must not be negative, and below 2**63 (RFC 6455 section 5.2)")
    _check_sendable(opcode, length, fin, rsv1)
    cdef Py_ssize_t size = _put_header(header, opcode, length, fin, rsv1, mask is not None)
    if mask is not None:
        word = _mask_word(mask, 0)
        memcpy(header + size, &word, 4)
        size += 4
    return PyBytes_FromStringAndSize(<char *>header, size)


# --- messages sent by one side (sections 5.3 and 5.4) ---------------------------------------------

# Masks are the operating system's random bytes (section 10.3), fetched for 1,024 frames at a time.
cdef uint8_t _masks[4096]
cdef Py_ssize_t _masks_left = 0


cdef int _new_mask(uint32_t *mask) except -1:
    global _masks_left
    cdef bytes fresh
    if _masks_left == 0:
        fresh = os.urandom(sizeof(_masks))
        if PyBytes_GET_SIZE(fresh) != sizeof(_masks):
            raise OSError("os.urandom gave another number of bytes than it was asked for")
        memcpy(_masks, PyBytes_AS_STRING(fresh), sizeof(_masks))
        _masks_left = sizeof(_masks)
    _masks_left -= 4
    memcpy(mask, _masks + _masks_left, 4)
    return 0


cdef bytes _bytes_of(message):
    if PyBytes_CheckExact(message):
        return message
    return PyUnicode_AsUTF8String(message) if PyUnicode_Check(message) else bytes(memoryview(message))


def _forget_masks():
    """A child must not mask as its parent does."""
    global _masks_left
    _masks_left = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_masks)


@cython.final
cdef class Encoder:
    """Messages in, frames out. One owner, no lock; see `_codec.pyi` for the words of its interface."""

    cdef public bint open
    cdef bint masks
    cdef uint8_t message_opcode     # of the message under way in fragments; 0 when there is none
    cdef bint message_compressed
    cdef object deflate

    def __init__(self, role, *, deflate=None):
        self.masks = Role(role) is Role.CLIENT
        self.deflate = deflate
        self.open = True

    @property
    def unfinished(self):
        return self.message_opcode != 0

    def encode(self, message, compress=None):
        cdef int opcode = TEXT if PyUnicode_Check(message) else BINARY
        if not self.open or self.message_opcode:
            self.refuse()
        if self.deflate is not None and compress is not False and self.deflate.possible:
            data = _bytes_of(message)
            if compress or self.deflate.wanted(len(data)):
                return self.compressed(opcode, data, None)
            message = data
        return self.frame(opcode, message, True, False)

    def encode_fragment(self, data, final, compress=None):
        cdef int kind = TEXT if PyUnicode_Check(data) else BINARY
        cdef int opcode = CONTINUATION
        cdef bint last = final
        if not self.open:
            self.refuse()
        if self.message_opcode == 0:
            opcode = kind
            self.message_compressed = (self.deflate is not None and compress is not False
                                       and self.deflate.possible)
        elif kind != self.message_opcode:
            raise TypeError("the fragments of a message must be all str, or all bytes-like (section 5.4)")
        if self.message_compressed:
            frame = self.compressed(opcode, _bytes_of(data), last)
        else:
            frame = self.frame(opcode, data, last, False)
        self.message_opcode = 0 if last else kind
        return frame

    def encode_control(self, opcode, payload):
        if not CLOSE <= opcode <= PONG:
            raise ValueError(f"opcode {opcode} is not one of a control frame (RFC 6455 section 5.5)")
        return self.frame(opcode, payload, True, False)

    cdef bytes frame(self, int opcode, payload, bint fin, bint rsv1):
        cdef uint32_t mask
        if not self.masks:
            return _frame_of(opcode, payload, NULL, fin, rsv1)
        _new_mask(&mask)
        return _frame_of(opcode, payload, &mask, fin, rsv1)

    cdef bytes compressed(self, int opcode, bytes data, last):
        """A frame of compressed data: of a whole message when `last` is None, else of a fragment."""
        try:
            if last is None:
                return self.frame(opcode, self.deflate.deflate(data), True, True)
            return self.frame(opcode, self.deflate.deflate_fragment(data, last), last, opcode != CONTINUATION)
        except BaseException:
            # What the peer has not seen must not be referred to; a message of which it has seen a part cannot go on.
            self.deflate.begin_anew()
            if opcode == CONTINUATION:
                self.open = False
            raise

    cdef int refuse(self) except -1:
        if not self.open:
            raise ConnectionClosed("the WebSocket is closing or closed: nothing can be sent")
        raise RuntimeError("a message is being sent in fragments: end it first (RFC 6455 section 5.4)")


# --- frames that leave together -------------------------------------------------------------------

@cython.final
cdef class JoinCache:
    """The last two pieces that outboxes joined, and what they became; see `_codec.pyi`.

    Eight broadcasts to 1,000 clients: 1.12x the deliveries, since no client needs a buffer of its own.
    """

    cdef object first
    cdef object second
    cdef object whole


@cython.final
cdef class Outbox:
    """Frames out, kept together until they are taken. One owner, no lock; see `_codec.pyi`."""

    cdef PyObject *data             # a bytes object: a buffer of our own, or the one piece that was written
    cdef Py_ssize_t capacity        # of a buffer of our own; 0: there is none
    cdef Py_ssize_t filled
    cdef Py_ssize_t most            # max_bytes
    cdef bint encodes
    cdef bint closed
    cdef bint awaited
    cdef object wake
    cdef object whom
    cdef JoinCache joins

    def __init__(self, encodes=True, joins=None):
        self.encodes = encodes
        self.joins = joins

    def __dealloc__(self):
        Py_XDECREF(self.data)

    @property
    def max_bytes(self):
        return self.most

    @max_bytes.setter
    def max_bytes(self, value):
        if not 0 <= value < 1 << 31:
            raise ValueError("max_bytes must not be negative, and below 2**31")
        if not self.closed:
            self.most = value

    def open(self, max_bytes, wake, whom):
        self.max_bytes = max_bytes
        if not self.closed:
            self.wake = wake
            self.whom = whom

    def close(self):
        self.closed = True
        self.most = 0
        self.wake = self.whom = None

    def __len__(self):
        return self.filled

    def send(self, message):
        cdef bytes encoded
        if not self.encodes or not self.most:
            return False
        if PyUnicode_CheckExact(message):
            if PyUnicode_GET_LENGTH(message) >= LARGE_PAYLOAD:
                return False
            if PyUnicode_IS_COMPACT_ASCII(message):
                return self.put(TEXT, <const uint8_t *>PyUnicode_DATA(message), PyUnicode_GET_LENGTH(message))
            encoded = PyUnicode_AsUTF8String(message)
            return self.put(TEXT, <const uint8_t *>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
        if PyBytes_CheckExact(message) and PyBytes_GET_SIZE(message) < LARGE_PAYLOAD:
            return self.put(BINARY, <const uint8_t *>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return False

    def write(self, frames):
        cdef Py_ssize_t n
        if not PyBytes_CheckExact(frames):
            raise TypeError(f"frames must be bytes, not {type(frames).__name__}")
        n = PyBytes_GET_SIZE(frames)
        if n >= LARGE_PAYLOAD or self.filled + n > self.most:
            return False
        if self.data == NULL:
            # The first piece is not copied: a broadcast is one object in every outbox.
            self.data = <PyObject *>frames
            Py_INCREF(self.data)
        elif self.joins is not None and not self.capacity and self.filled + n <= JOINED_MAX:
            self.join(<bytes>frames, n)
        else:
            memcpy(self.room(n), PyBytes_AS_STRING(frames), n)
        self.filled += n
        self.entered()
        return True

    def expect(self):
        cdef bint first = not self.awaited
        self.awaited = True
        return first

    def take(self):
        self.awaited = False
        if self.data == NULL:
            return b""
        if self.capacity > self.filled:
            bytes_resize(&self.data, self.filled)
        out = <bytes>self.data
        Py_XDECREF(self.data)
        self.data = NULL
        self.capacity = self.filled = 0
        return out

    cdef bint put(self, int opcode, const uint8_t *payload, Py_ssize_t n) except -1:
        """One whole frame, if there is room for it. Its payload is below 64 KiB: four bytes per character."""
        cdef Py_ssize_t size = n + (2 if n < 126 else 4)
        cdef uint8_t *place
        if self.filled + size > self.most:
            return False
        place = self.room(size)
        memcpy(place + _put_header(place, opcode, n, True, False, False), payload, n)
        self.filled += size
        self.entered()
        return True

    cdef int join(self, bytes frames, Py_ssize_t n) except -1:
        """Shared bytes behind shared bytes. Who is written to next has the same two: they are joined once."""
        cdef JoinCache joins = self.joins
        cdef bytes whole
        if self.data != <PyObject *>joins.first or frames is not joins.second:
            whole = PyBytes_FromStringAndSize(NULL, self.filled + n)
            memcpy(PyBytes_AS_STRING(whole), raw_bytes_data(self.data), self.filled)
            memcpy(PyBytes_AS_STRING(whole) + self.filled, PyBytes_AS_STRING(frames), n)
            joins.first = <object>self.data
            joins.second = frames
            joins.whole = whole
        Py_XDECREF(self.data)
        self.data = <PyObject *>joins.whole
        Py_INCREF(self.data)
        return 0

    cdef uint8_t *room(self, Py_ssize_t n) except NULL:
        """The place of the next n bytes. The first frame gets its own size; more, twice what came.

        Without memory for them, what is held stays held.
        """
        cdef Py_ssize_t wanted = self.filled + n
        cdef PyObject *data
        if wanted > self.capacity:
            if self.data != NULL:
                wanted = max(2 * wanted, SMALLEST_OUTBOX)
            if self.capacity:
                bytes_resize(&self.data, wanted)
            else:
                data = raw_bytes_new(NULL, wanted)
                if self.data != NULL:
                    memcpy(raw_bytes_data(data), raw_bytes_data(self.data), self.filled)
                    Py_XDECREF(self.data)
                self.data = data
            self.capacity = wanted
        return <uint8_t *>raw_bytes_data(self.data) + self.filled

    cdef int entered(self) except -1:
        if not self.awaited:
            self.awaited = True
            if self.wake is not None:
                # Held by a name: a `wake` that closes the outbox would free the argument of its own call.
                whom = self.whom
                self.wake(whom)
        return 0


# --- headers received (section 5.2) ---------------------------------------------------------------

cdef inline Py_ssize_t _header_bytes(uint8_t second) noexcept:
    cdef Py_ssize_t size = 2 + (4 if second & 0x80 else 0)
    cdef int short_length = second & 0x7F
    if short_length == 126:
        size += 2
    elif short_length == 127:
        size += 8
    return size


cdef inline uint64_t _payload_bytes(const uint8_t *header) noexcept:
    cdef int short_length = header[1] & 0x7F
    cdef uint64_t length = 0
    cdef int i
    if short_length < 126:
        return short_length
    if short_length == 126:
        return (<uint64_t>header[2] << 8) | header[3]
    for i in range(8):
        length = (length << 8) | header[2 + i]
    return length


cdef object _check_form(uint8_t first, uint8_t second):
    """The refusals of the first two bytes that need neither role nor state. None when there is none."""
    cdef int opcode = first & 0x0F
    if opcode > PONG or (BINARY < opcode < CLOSE):
        return Fault.RESERVED_OPCODE
    if opcode >= CLOSE:
        if not first & 0x80:
            return Fault.CONTROL_FRAGMENTED
        if second & 0x7F > MAX_CONTROL_PAYLOAD:
            return Fault.CONTROL_TOO_LONG
    return None


cdef object _check_length(const uint8_t *header, uint64_t length):
    cdef int short_length = header[1] & 0x7F
    if length >> 63:
        return Fault.LENGTH_TOP_BIT
    if (short_length == 126 and length < 126) or (short_length == 127 and length < 65536):
        return Fault.LENGTH_NOT_MINIMAL
    return None


def decode_header(data, Py_ssize_t offset=0):
    """Read one frame's header at `offset`; None when bytes are missing, ProtocolError when its form is
    refused.
    """
    cdef Py_buffer view
    cdef const uint8_t *header
    cdef Py_ssize_t size
    cdef uint64_t length
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if offset < 0 or offset > view.len:
            raise ValueError(f"offset {offset} is outside the data of {view.len} bytes")
        header = <const uint8_t *>view.buf + offset
        if view.len - offset < 2:
            return None
        fault = _check_form(header[0], header[1])
        if fault is not None:
            raise fault.error()
        size = _header_bytes(header[1])
        if view.len - offset < size:
            return None
        length = _payload_bytes(header)
        fault = _check_length(header, length)
        if fault is not None:
            raise fault.error()
        mask = PyBytes_FromStringAndSize(<const char *>header + size - 4, 4) if header[1] & 0x80 else None
        opcode = Opcode(header[0] & 0x0F)
        told = Header(bool(header[0] & 0x80), (header[0] >> 4) & 7, opcode, mask, length, size)
    finally:
        PyBuffer_Release(&view)
    return told


# --- UTF-8 as it arrives (section 8.1) ------------------------------------------------------------

cdef Py_ssize_t _wide_chars(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """The number of characters, where vectors can widen them: all of sixteen bits, and some of more than eight.

    0 for other text, which the interpreter decodes.
    """
    cdef uint8_t top
    cdef Py_ssize_t chars
    if n < DECODED_FROM or not wsf_has_avx2():
        return 0
    chars = wsf_utf8_count(p, n, &top)
    return chars if 0xC4 <= top < 0xF0 else 0


cdef object _wide_text(const uint8_t *p, Py_ssize_t n, Py_ssize_t chars):
    text = PyUnicode_New(chars, 0xFFFF)
    wsf_utf8_widen(p, n, <uint16_t *>PyUnicode_DATA(text), chars)
    return text


cdef object _text(const uint8_t *p, Py_ssize_t n):
    """The str of bytes that are known to be UTF-8."""
    cdef Py_ssize_t chars = _wide_chars(p, n)
    if chars:
        return _wide_text(p, n, chars)
    return PyUnicode_DecodeUTF8(<const char *>p, n, NULL)


# --- storage of a message under way ---------------------------------------------------------------

@cython.final
cdef class _Storage:
    """The bytes object, or the ASCII str, that a partial message grows in. Its writable tail can be lent.

    Text begins as a str that is not copied when all of it is ASCII; else it holds UTF-8 until it is given.
    It does not know who looks at the loan: a view refers to it, it to none, so no cycle keeps its bytes.
    Its object is never resized or handed out while a loan lasts: `Decoder.end_loan` comes first.
    """

    cdef PyObject *data
    cdef uint8_t *place             # of the first byte in `data`
    cdef Py_ssize_t capacity
    cdef Py_ssize_t filled
    cdef Py_ssize_t lent_bytes      # behind the filled ones; 0: nothing is lent
    cdef Py_ssize_t exports
    cdef bint text
    cdef bint ascii                 # of the text so far

    def __dealloc__(self):
        Py_XDECREF(self.data)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self.lent_bytes:
            raise BufferError("the loan has ended")
        # By hand: PyBuffer_FillInfo forgets the reference to None that Cython has put into `obj`.
        buffer.buf = self.place + self.filled
        buffer.obj = self
        buffer.len = self.lent_bytes
        buffer.readonly = 0
        buffer.itemsize = 1
        buffer.format = NULL  # bytes
        buffer.ndim = 1
        buffer.shape = &buffer.len if flags & PyBUF_ND else NULL
        buffer.strides = &buffer.itemsize if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1

    cdef _Storage copied(self, Py_ssize_t came):
        """A copy of the filled bytes and of those that came behind them."""
        cdef _Storage other = _storage(self.text)
        other.ascii = self.ascii
        other.grow(self.filled + came)
        memcpy(other.place, self.place, self.filled + came)
        other.filled = self.filled
        return other

    cdef int grow(self, Py_ssize_t capacity) except -1:
        """Room for `capacity` bytes in all. Without memory for them nothing changes."""
        if self.text:
            if self.data == NULL:
                self.data = raw_text_new(capacity, 127)
            else:
                text_resize(&self.data, capacity)
            self.place = <uint8_t *>raw_text_data(self.data)
        else:
            if self.data == NULL:
                self.data = raw_bytes_new(NULL, capacity)
            else:
                bytes_resize(&self.data, capacity)
            self.place = <uint8_t *>raw_bytes_data(self.data)
        self.capacity = capacity
        return 0

    cdef object give(self):
        """The filled bytes, or their text, handed out for good."""
        if self.text and not self.ascii:
            whole = _text(self.place, self.filled)
        else:
            if self.filled != self.capacity:
                self.grow(self.filled)
            whole = <object>self.data
        Py_XDECREF(self.data)
        self.data = NULL
        self.capacity = self.filled = 0
        return whole


cdef _Storage _storage(bint text):
    cdef _Storage made = _Storage.__new__(_Storage)
    made.text = made.ascii = text
    return made


# --- decoding -------------------------------------------------------------------------------------

# A step of a decoder, called so that its exception is not propagated but taken: see `guarded`.
ctypedef int (*Step)(Decoder decoder, const uint8_t *p, Py_ssize_t n, list events) noexcept

cdef str _RELEASE = "release"


cdef int _feed(Decoder decoder, const uint8_t *p, Py_ssize_t n, list events) except -1:
    return decoder.feed(p, n, events)


cdef int _lend(Decoder decoder, const uint8_t *p, Py_ssize_t n, list events) except -1:
    return decoder.lend()


cdef int _take_loan(Decoder decoder, const uint8_t *p, Py_ssize_t n, list events) except -1:
    return decoder.take_loan(n, events)


@cython.final
cdef class Decoder:
    """Bytes received in, messages out. One owner, no lock; see `_codec.pyi` for the words of its interface.
    """

    cdef readonly bint attention
    # Flags are bytes: every idle connection has them.
    cdef uint8_t busy
    cdef uint8_t expects_mask
    cdef uint8_t fin                # of the frame under way
    cdef uint8_t message_compressed
    cdef uint8_t masked
    cdef uint8_t opcode             # of the frame under way
    cdef uint8_t message_opcode     # of the message under way; 0 when there is none
    cdef uint8_t header_bytes       # of `header` that came
    cdef uint8_t header[MAX_HEADER]
    cdef uint8_t mask[4]
    cdef Phase phase
    cdef Utf8 utf8
    cdef uint32_t fragments
    cdef uint32_t max_fragments
    cdef uint64_t payload_bytes     # of the frame under way
    cdef uint64_t payload_came      # bytes of it that came
    cdef uint64_t message_came      # payload bytes announced for the message under way, as on the wire
    cdef uint64_t max_message_bytes
    cdef uint64_t handed_bytes      # of the message under way, handed out as Fragments
    cdef Py_ssize_t fragment_bytes  # 0: messages are handed out whole
    cdef object inflate
    cdef bytes control              # payload of a partial control frame
    cdef _Storage storage           # payload of a partial message
    cdef object lent                # the view that `receive_buffer` gave, until the next call
    cdef object error               # raised by the next call: what came before it was returned

    def __init__(self, role, *, max_message_bytes=_DEFAULT_MAX_MESSAGE_BYTES,
                 max_fragments=_DEFAULT_MAX_FRAGMENTS, inflate=None, fragment_bytes=None):
        if not 0 < max_message_bytes < 1 << 62:
            raise ValueError("max_message_bytes must be at least 1 and below 2**62")
        if not 0 < max_fragments < 1 << 31:
            raise ValueError("max_fragments must be at least 1 and below 2**31")
        if inflate is not None and not callable(inflate):
            raise TypeError("inflate must be None or a callable")
        self.expects_mask = Role(role) is Role.SERVER
        if fragment_bytes is None:
            # No message is larger than an object can be, growing: of consequence with addresses of 32 bits.
            max_message_bytes = min(max_message_bytes, PY_SSIZE_T_MAX >> 1)
        elif not 0 < fragment_bytes < 1 << 30:
            raise ValueError("fragment_bytes must be None, or at least 1 and below 2**30")
        self.fragment_bytes = fragment_bytes or 0
        self.max_message_bytes = max_message_bytes
        self.max_fragments = max_fragments
        self.inflate = inflate

    @property
    def unfinished(self):
        return self.phase == IN_PAYLOAD or (
            self.phase == IN_HEADER and (self.header_bytes > 0 or self.message_opcode != 0))

    @property
    def failed(self):
        return self.phase == AFTER_FAULT

    def at_rest(self):
        return (not self.attention and self.phase == IN_HEADER and self.header_bytes == 0
                and self.message_opcode == 0)

    def close(self):
        if self.busy:
            self.refuse_reentry()
        self.end(self.phase if self.phase == AFTER_FAULT else AFTER_CLOSE)

    def receive(self, data, Py_ssize_t length=-1):
        cdef Py_buffer view
        cdef list events
        if self.lent is not None and data is self.lent:
            return self.buffer_received(self.storage.lent_bytes if length < 0 else length)
        events = []
        self.enter()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        if length < 0:
            length = view.len
        elif length > view.len:
            PyBuffer_Release(&view)
            raise ValueError(f"length {length} is more than the bytes of data")
        error = self.guarded(<Step>_feed, <const uint8_t *>view.buf, length, events)
        PyBuffer_Release(&view)
        if error is not None:
            self.keep_or_raise(error, events)
        return events

    def receive_buffer(self):
        cdef uint64_t missing = self.payload_bytes - self.payload_came
        self.enter()
        if (self.phase != IN_PAYLOAD or missing < LARGE_PAYLOAD or self.opcode >= CLOSE
                or self.storage is None or self.storage.filled < LARGE_PAYLOAD or self.message_compressed):
            return None
        # Its exception is told by the next `receive`, where every fault of a stream is told.
        self.error = self.guarded(<Step>_lend, NULL, 0, None)
        return self.lent

    def buffer_received(self, Py_ssize_t nbytes):
        cdef list events = []
        self.enter()
        if self.lent is None:
            raise ValueError("buffer_received without a buffer lent by receive_buffer")
        if nbytes < 0 or nbytes > self.storage.lent_bytes:
            raise ValueError(f"nbytes {nbytes} is outside the lent buffer of {self.storage.lent_bytes} bytes")
        error = self.guarded(<Step>_take_loan, NULL, nbytes, events)
        if error is not None:
            self.keep_or_raise(error, events)
        return events

    # What follows is the machine: feed -> (take_header | take_payload) -> the end of a frame.

    cdef int enter(self) except -1:
        if self.busy or self.error is not None:
            if self.busy:
                self.refuse_reentry()
            error = self.error
            self.error = None
            raise error
        return 0

    cdef int refuse_reentry(self) except -1:
        raise RuntimeError("a Decoder has one owner: it was called while a call was under way")

    cdef object guarded(self, Step step, const uint8_t *p, Py_ssize_t n, list events):
        """Do one step; after an exception, which is returned, nothing is parsed any more."""
        cdef int done
        if events is not None:
            self.attention = False
        self.busy = True
        done = step(self, p, n, events)
        self.busy = False
        if done == 0:
            return None
        error = take_exception()
        self.end(AFTER_FAULT)
        return error

    cdef int keep_or_raise(self, error, list events) except -1:
        """What came before an exception is returned; the exception is raised by the next call.

        At once where nothing came before it, or where it is to stop the program.
        """
        if not events or not isinstance(error, Exception):
            return raise_again(error)
        self.error = error
        self.attention = True
        return 0

    cdef int end_loan(self, Py_ssize_t came) except -1:
        """The view is not valid any more; `came` bytes were put into it.

        A slice of it may have been kept, and be written to: it keeps the old storage. So nobody can change
        bytes that were accepted and validated. Only who keeps one pays for the copy.
        """
        if self.lent is None:
            return 0
        self.release_view()
        if self.storage.exports:
            self.storage = self.storage.copied(came)
        return 0

    cdef void release_view(self) noexcept:
        lent = self.lent
        self.lent = None
        self.storage.lent_bytes = 0
        release(lent, _RELEASE)

    cdef int lend(self) except -1:
        cdef uint64_t missing = self.payload_bytes - self.payload_came
        cdef Py_ssize_t room
        self.end_loan(0)
        self.reserve(1, self.storage.filled)
        room = self.storage.capacity - self.storage.filled
        self.storage.lent_bytes = room if <uint64_t>room < missing else <Py_ssize_t>missing
        self.lent = memoryview(self.storage)
        return 0

    cdef int take_loan(self, Py_ssize_t came, list events) except -1:
        cdef uint8_t *place
        cdef bint top = False
        self.end_loan(came)
        place = self.storage.place + self.storage.filled
        if self.masked or self.storage.text:
            top = wsf_xor(place, place, came, wsf_mask_at(self.mask, self.payload_came) if self.masked else 0)
        return self.stored(came, top, events)

    cdef int feed(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t length, size
        cdef const uint8_t *mask
        if self.lent is not None:
            self.end_loan(0)
        while i < n:
            if self.phase == IN_HEADER:
                # The common frame: whole, final, masked as it must be, below 64 KiB, no message under way.
                if n - i >= 4 and not self.header_bytes and not self.message_opcode:
                    length = p[i + 1] ^ (0x80 if self.expects_mask else 0)
                    size = 2
                    if length == 126:
                        length = (<Py_ssize_t>p[i + 2] << 8) | p[i + 3]
                        size = 4
                        if length < 126:
                            length = PY_SSIZE_T_MAX
                    elif length > 126:
                        length = PY_SSIZE_T_MAX
                    mask = NULL
                    if self.expects_mask:
                        mask = p + i + size
                        size += 4
                    if n - i - size >= length and <uint64_t>length <= self.max_message_bytes:
                        if p[i] == 0x81:
                            self.text_whole(p + i + size, length, mask, events)
                            i += size + length
                            continue
                        if p[i] == 0x82:
                            self.binary_whole(p + i + size, length, mask, events)
                            i += size + length
                            continue
                i += self.take_header(p + i, n - i, events)
                # A frame without payload ends with its header, which may be the last byte here.
                if self.phase == IN_PAYLOAD and self.payload_bytes == 0:
                    self.take_payload(p + i, 0, events)
            elif self.phase == IN_PAYLOAD:
                i += self.take_payload(p + i, n - i, events)
            else:
                return 0
        return 0

    cdef int fail(self, fault, list events) except -1:
        events.append(fault.error())
        self.attention = True
        self.end(AFTER_FAULT)
        return 0

    cdef void end(self, Phase phase) noexcept:
        self.phase = phase
        if self.lent is not None:
            self.release_view()
        self.header_bytes = 0
        self.message_opcode = 0
        self.storage = None
        self.control = None
        self.inflate = None

    cdef Py_ssize_t take_header(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        """Read a header, or keep what there is of it. Returns the bytes used."""
        cdef Py_ssize_t used = 0, size
        cdef const uint8_t *header = p
        if self.header_bytes or n < MAX_HEADER:
            header = self.header
            if self.header_bytes < 2:
                used = min(2 - self.header_bytes, n)
                memcpy(self.header + self.header_bytes, p, used)
                self.header_bytes += used
        if header == p or self.header_bytes >= 2:
            fault = self.check_first_bytes(header[0], header[1])
            if fault is not None:
                self.fail(fault, events)
                return n
            size = _header_bytes(header[1])
            if header == p:
                self.begin_frame(header, size, events)
                return size
            if self.header_bytes < size:
                n = min(size - self.header_bytes, n - used)
                memcpy(self.header + self.header_bytes, p + used, n)
                self.header_bytes += n
                used += n
            if self.header_bytes == size:
                self.begin_frame(header, size, events)
        return used

    cdef object check_first_bytes(self, uint8_t first, uint8_t second):
        cdef int opcode = first & 0x0F
        if first & 0x30 or (first & 0x40 and self.inflate is None):
            return Fault.RESERVED_BITS
        fault = _check_form(first, second)
        if fault is not None:
            return fault
        if (second >> 7) != self.expects_mask:
            return Fault.MASK_MISSING if self.expects_mask else Fault.MASK_FORBIDDEN
        if opcode >= CLOSE:
            return Fault.COMPRESSED_CONTROL if first & 0x40 else None
        if opcode == CONTINUATION:
            if not self.message_opcode:
                return Fault.NOTHING_TO_CONTINUE
            return Fault.COMPRESSED_CONTINUATION if first & 0x40 else None
        return Fault.MESSAGE_INTERLEAVED if self.message_opcode else None

    cdef int begin_frame(self, const uint8_t *header, Py_ssize_t size, list events) except -1:
        cdef uint64_t length = _payload_bytes(header), limit
        cdef uint8_t first = header[0]
        fault = _check_length(header, length)
        if fault is not None:
            return self.fail(fault, events)
        self.masked = header[1] >> 7
        if self.masked:
            memcpy(self.mask, header + size - 4, 4)
        self.opcode = first & 0x0F
        self.fin = first >> 7
        self.header_bytes = 0
        self.payload_bytes = length
        self.payload_came = 0
        self.phase = IN_PAYLOAD
        if self.opcode >= CLOSE:
            return 0
        if self.opcode != CONTINUATION:
            self.message_opcode = self.opcode
            self.message_compressed = (first >> 6) & 1
            self.fragments = 0
            self.message_came = 0
            self.handed_bytes = 0
            self.utf8.missing = 0
        self.fragments += 1
        if self.fragments > self.max_fragments:
            return self.fail(Fault.TOO_MANY_FRAGMENTS, events)
        self.message_came += length
        limit = self.max_message_bytes
        if self.message_compressed:
            # The true limit is held while inflating; this one bounds the work on blocks that inflate to
            # nothing.
            limit += (limit >> 6) + 1024
        if self.message_came > limit:
            return self.fail(Fault.MESSAGE_TOO_BIG, events)
        return 0

    cdef Py_ssize_t take_payload(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        """Use at most n bytes of the frame under way. Returns the bytes used."""
        cdef const uint8_t *mask = self.mask if self.masked else NULL
        cdef uint64_t missing = self.payload_bytes - self.payload_came
        cdef uint8_t *place
        cdef bint top = False  # whether a byte above ASCII came
        if <uint64_t>n > missing:
            n = <Py_ssize_t>missing
        if self.opcode >= CLOSE:
            self.take_control(p, n, events)
        elif self.message_compressed:
            self.take_compressed(p, n, events)
        elif (self.fin and self.storage is None and <uint64_t>n == self.payload_bytes
                and not self.handed_bytes):
            self.phase = IN_HEADER
            if self.message_opcode == BINARY:
                self.binary_whole(p, n, mask, events)
            else:
                self.text_whole(p, n, mask, events)
            self.message_opcode = 0
        else:
            if n:
                self.reserve(n, n + (0 if self.storage is None else self.storage.filled))
                place = self.storage.place + self.storage.filled
                if self.masked or self.storage.text:
                    top = wsf_xor(place, p, n, wsf_mask_at(mask, self.payload_came) if self.masked else 0)
                else:
                    memcpy(place, p, n)
            self.stored(n, top, events)
        return n

    cdef int binary_whole(self, const uint8_t *p, Py_ssize_t n, const uint8_t *mask, list events) except -1:
        message = PyBytes_FromStringAndSize(NULL, n)
        if mask != NULL:
            wsf_xor(<uint8_t *>PyBytes_AS_STRING(message), p, n, wsf_mask_at(mask, 0))
        else:
            memcpy(PyBytes_AS_STRING(message), p, n)
        return PyList_Append(events, message)

    cdef int text_whole(self, const uint8_t *p, Py_ssize_t n, const uint8_t *mask, list events) except -1:
        """A whole text message out of one frame."""
        cdef uint8_t *place
        if n == 0:
            return PyList_Append(events, "")
        # Straight into an ASCII string; a byte with its top bit set sends it through the decoder.
        message = PyUnicode_New(n, 127)
        place = <uint8_t *>PyUnicode_DATA(message)
        if wsf_xor(place, p, n, 0 if mask == NULL else wsf_mask_at(mask, 0)):
            return self.text_decoded(place, n, events)
        return PyList_Append(events, message)

    cdef int text_decoded(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        cdef PyObject *text = NULL
        cdef Utf8 state
        cdef Py_ssize_t chars = _wide_chars(p, n)
        if chars:
            state.missing = 0
            if not wsf_utf8_ok(&state, p, n) or state.missing:
                return self.fail(Fault.TEXT_NOT_UTF8, events)
            return PyList_Append(events, _wide_text(p, n, chars))
        if not_utf8(p, n, &text):
            return self.fail(Fault.TEXT_NOT_UTF8, events)
        message = <object>text
        Py_XDECREF(text)
        return PyList_Append(events, message)

    cdef int take_control(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        cdef uint8_t *place
        if self.control is None:
            self.control = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>self.payload_bytes)
        place = <uint8_t *>PyBytes_AS_STRING(self.control) + self.payload_came
        if self.masked:
            wsf_xor(place, p, n, wsf_mask_at(self.mask, self.payload_came))
        else:
            memcpy(place, p, n)
        self.payload_came += n
        if self.payload_came < self.payload_bytes:
            return 0
        payload = self.control
        self.control = None
        self.phase = IN_HEADER
        self.attention = True
        if self.opcode == CLOSE:
            return self.take_close(payload, events)
        events.append(Ping(payload) if self.opcode == PING else Pong(payload))
        return 0

    cdef int take_close(self, bytes payload, list events) except -1:
        cdef int code
        cdef PyObject *text = NULL
        if len(payload) == 0:
            events.append(Close(int(CloseCode.NO_STATUS_RCVD), ""))
        elif len(payload) == 1:
            return self.fail(Fault.CLOSE_ONE_BYTE, events)
        else:
            code = int.from_bytes(payload[:2], "big")
            if not may_be_on_the_wire(code):
                return self.fail(Fault.CLOSE_CODE, events)
            if not_utf8(<const uint8_t *>PyBytes_AS_STRING(payload) + 2, len(payload) - 2, &text):
                return self.fail(Fault.CLOSE_REASON_NOT_UTF8, events)
            reason = <object>text
            Py_XDECREF(text)
            events.append(Close(code, reason))
        self.end(AFTER_CLOSE)
        return 0

    cdef int take_compressed(self, const uint8_t *p, Py_ssize_t n, list events) except -1:
        cdef bytes chunk = PyBytes_FromStringAndSize(NULL, n)
        cdef bytes out
        cdef Py_ssize_t filled, wanted, came, fits
        cdef uint64_t room
        cdef uint8_t *place = <uint8_t *>PyBytes_AS_STRING(chunk)
        cdef bint last, more = True
        if self.masked:
            wsf_xor(place, p, n, wsf_mask_at(self.mask, self.payload_came))
        else:
            memcpy(place, p, n)
        self.payload_came += n
        last = self.fin and self.payload_came == self.payload_bytes
        while more:
            filled = 0 if self.storage is None else self.storage.filled
            room = self.max_message_bytes - self.handed_bytes - filled
            # One byte over the limit is asked for, and tells a message that fits from one that does not.
            wanted = INFLATE_PIECE if room >= INFLATE_PIECE else <Py_ssize_t>room + 1
            out = self.inflate(chunk, last, wanted)
            if out is None:
                return self.fail(Fault.COMPRESSED_DATA, events)
            came = PyBytes_GET_SIZE(out)
            more = came == wanted
            if last and came < wanted and not filled and not self.handed_bytes:
                return self.inflated_whole(out, events)
            fits = came if <uint64_t>came <= room else <Py_ssize_t>room
            if fits:
                self.reserve(fits, filled + fits)
                place = self.storage.place + filled
                if not self.storage.text:
                    memcpy(place, PyBytes_AS_STRING(out), fits)
                elif not self.text_goes_on(
                        place, fits, wsf_xor(place, <const uint8_t *>PyBytes_AS_STRING(out), fits, 0)):
                    return self.fail(Fault.TEXT_NOT_UTF8, events)
                self.storage.filled += fits
            if came > fits:
                return self.fail(Fault.MESSAGE_TOO_BIG, events)
            if more or not last:
                self.hand_out_full(events)
            chunk = None
        if last:
            return self.finish(events)
        if self.payload_came == self.payload_bytes:
            self.phase = IN_HEADER
        return 0

    cdef int inflated_whole(self, bytes out, list events) except -1:
        """A message that one call has inflated."""
        self.phase = IN_HEADER
        if self.message_opcode == BINARY:
            PyList_Append(events, out)
        else:
            self.text_whole(<const uint8_t *>PyBytes_AS_STRING(out), PyBytes_GET_SIZE(out), NULL, events)
        self.message_opcode = 0
        return 0

    cdef int reserve(self, Py_ssize_t n, Py_ssize_t came) except -1:
        """Room for n more bytes: at most twice the bytes that came, and no more than the message can need."""
        cdef Py_ssize_t filled, wanted
        cdef uint64_t most
        if self.storage is None:
            self.storage = _storage(self.message_opcode == TEXT)
        filled = self.storage.filled
        if filled + n <= self.storage.capacity:
            return 0
        wanted = max(2 * came, SMALLEST_STORAGE)
        if self.message_compressed or not self.fin:
            most = self.max_message_bytes
        else:
            most = <uint64_t>filled + self.payload_bytes - self.payload_came
        if self.fragment_bytes and most > <uint64_t>self.fragment_bytes:
            most = self.fragment_bytes
        if <uint64_t>wanted > most:
            wanted = <Py_ssize_t>most
        return self.storage.grow(max(wanted, filled + n))

    cdef bint text_goes_on(self, const uint8_t *p, Py_ssize_t n, bint top) noexcept:
        """Whether the next n bytes of the text under way may stand there; `top`: not all of them are ASCII."""
        if not top and not self.utf8.missing:
            return True
        self.storage.ascii = False
        return wsf_utf8_ok(&self.utf8, p, n)

    cdef int stored(self, Py_ssize_t n, bint top, list events) except -1:
        """n plain bytes of the frame under way were put at the end of the storage."""
        if n:
            if self.storage.text and not self.text_goes_on(self.storage.place + self.storage.filled, n, top):
                return self.fail(Fault.TEXT_NOT_UTF8, events)
            self.storage.filled += n
            self.payload_came += n
        if self.payload_came == self.payload_bytes:
            self.phase = IN_HEADER
            if self.fin:
                return self.finish(events)
        return self.hand_out_full(events)

    cdef int hand_out_full(self, list events) except -1:
        """A message that is handed out in Fragments: what there is of it, once that is enough for one."""
        cdef uint8_t rest[3]
        cdef Py_ssize_t unfinished = 0
        cdef _Storage storage = self.storage
        if not self.fragment_bytes or storage is None or storage.filled < self.fragment_bytes:
            return 0
        if self.utf8.missing:
            # The last character is not whole: it begins at the last byte that is no continuation.
            unfinished = 1
            while storage.place[storage.filled - unfinished] < 0xC0:
                unfinished += 1
            memcpy(rest, storage.place + storage.filled - unfinished, unfinished)
            storage.filled -= unfinished
        if not storage.filled:
            storage.filled = unfinished
            return 0
        self.handed_bytes += storage.filled
        self.attention = True
        events.append(Fragment(storage.give(), False))
        self.storage = None
        if unfinished:
            self.reserve(unfinished, unfinished)
            memcpy(self.storage.place, rest, unfinished)
            self.storage.filled = unfinished
        return 0

    cdef int finish(self, list events) except -1:
        """The last byte of a message that came in pieces."""
        self.phase = IN_HEADER
        if self.utf8.missing:
            return self.fail(Fault.TEXT_NOT_UTF8, events)
        if self.storage is not None and self.storage.filled:
            whole = self.storage.give()
        else:
            whole = "" if self.message_opcode == TEXT else b""
        self.storage = None
        self.message_opcode = 0
        if self.handed_bytes:
            self.attention = True
            whole = Fragment(whole, True)
        return PyList_Append(events, whole)
