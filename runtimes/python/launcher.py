"""The launcher of the Python runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.

Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Python runtime
(openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for where this launcher decides itself.

What runs after user code was loaded uses names that are bound here, builtins included, so that an action that changes a
module or a builtin harms itself and not the framing.
"""

import sys
from builtins import (
    BaseException, BlockingIOError, Exception, GeneratorExit, ImportError, KeyboardInterrupt, MemoryError, OSError,
    RecursionError, RuntimeError, SystemExit, TypeError, ValueError, bytearray, bytes, callable, classmethod, compile,
    dict, exec, getattr, hasattr, int, isinstance, len, memoryview, open, range, set, sorted, str, type, vars,
)
from posix import _exit, close, putenv, read, readv, register_at_fork, set_blocking, set_inheritable, unsetenv, write

PROTOCOL = 1
SOCKET = 3
HELLO = 0x01
INIT_DONE = 0x02
RESULT = 0x03
LOG = 0x04
CHUNK = 0x05
INIT = 0x10
RUN = 0x11
CANCEL = 0x12
STATUS_OK = 0
STATUS_FAILED = 1
STDOUT = 1
STDERR = 2
HEADER_BYTES = 9
# A header is the length, then type and stream, which the length counts. It is handled as one little-endian number, as
# are a header and the byte after it.
HEAD_TAIL_BYTES = 5
LENGTH_MASK = 0xFFFF_FFFF
KIND_SHIFT = 32
KIND_MASK = 0xFF
STREAM_SHIFT = 40
FIRST_SHIFT = 72
# A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
PAYLOAD_BYTES_MAX = 128 * 1024 * 1024
READ_BYTES = 64 * 1024
# Up to here copying a frame into one piece costs less than a second write.
JOINED_BYTES_MAX = 64 * 1024
LOG_PIECE_CHARACTERS_MAX = 16 * 1024
# A line that has not ended is sent when it is longer.
LINE_BYTES_MAX = 16 * 1024
# A chain of wrappers may lead back to its start.
WRAPPERS_MAX = 32

EXIT_CLOSED = 0
EXIT_FAULT = 1
EXIT_BAD_FRAME = 70
EXIT_LOST = 71

# OpenWhisk's texts: those of its runtime proxy, then those of its Python runtime.
MISSING_CODE = 'Missing main/no code to execute.'
INITIALISED_BEFORE = 'Cannot initialize the action more than once.'
NOT_BUILT = 'The action failed to generate or locate a binary. See logs for details.'
NOT_STARTED = 'Cannot start action. Check logs for details.'
NO_ACTION = 'no action defined yet'
NO_DICTIONARY = 'The action did not return a dictionary or array.'
NO_MAIN_FILE = 'Zip file does not include mandatory files.'
BAD_VIRTUALENV = "Invalid virtualenv. Zip file does not include 'activate_this.py'."


def say_hello():
    payload = b'{"protocol":%d}' % PROTOCOL
    head = len(payload) + HEAD_TAIL_BYTES | HELLO << KIND_SHIFT
    write(SOCKET, head.to_bytes(HEADER_BYTES, 'little') + payload)


# First of all: what the proxy sends waits in the socket, and its work and ours overlap.
say_hello()

import os
import site
from _frozen_importlib import ModuleSpec, _find_spec as find_spec, module_from_spec
from _frozen_importlib_external import PathFinder, SourceFileLoader, spec_from_file_location
from _imp import acquire_lock as lock_imports, lock_held as imports_are_locked, release_lock as unlock_imports
# What `json` is made of. That takes as long to import as the interpreter to start, and an action may never need it.
from _json import encode_basestring as quote, make_encoder, make_scanner
from _thread import RLock
from io import BufferedIOBase, TextIOWrapper
from os.path import dirname, isdir, isfile, join

modules = sys.modules
environ = os.environ
# What `environ` shows, as bytes.
variables = environ._data
integer_of = int.from_bytes
show_exception = sys.excepthook


# --- the end ----------------------------------------------------------------------------------------------------------
def die(code, text=None):
    if text is not None:
        try:
            write(STDERR, f'launcher: {text}\n'.encode())
        except OSError:
            pass  # Nobody reads stderr: the exit code has to do.
    _exit(code)


# Whether this is a child that the action forked, which must neither answer nor take a call.
forked = False


def on_fork():
    global faults_lock, forked
    forked = True
    # A thread that is not here may have held it.
    faults_lock = RLock()
    try:
        # The proxy learns of our end by the end of the socket, so no child may keep it open.
        close(SOCKET)
    except OSError:
        pass  # The action closed it.


def leave_child():
    """Ends a child that came back from the action as its parent does."""
    flush_output()
    _exit(EXIT_CLOSED)


# --- writing frames ---------------------------------------------------------------------------------------------------
# Held by the thread that sends, where there may be several. A finaliser or a signal handler, which may print, can come
# in between anywhere, so the same thread may enter twice; `sending` tells.
send_lock = RLock()
sending = False


def write_all(data):
    try:
        sent = write(SOCKET, data)
        while sent < len(data):
            data = memoryview(data)[sent:]
            sent = write(SOCKET, data)
    except BaseException:
        # Also what a signal handler raised: half a frame may have been sent.
        die(EXIT_LOST)


def write_frame(kind, stream, first, text):
    """Sends a text after one byte, which is a status or the number of an output."""
    # A lone surrogate, which UTF-8 does not have, becomes a question mark.
    data = text.encode('utf-8', 'replace')
    length = len(data) + 1 + HEAD_TAIL_BYTES
    head = length | kind << KIND_SHIFT | stream << STREAM_SHIFT | first << FIRST_SHIFT
    head = head.to_bytes(HEADER_BYTES + 1, 'little')
    if length <= JOINED_BYTES_MAX:
        write_all(head + data)
    else:
        write_all(head)
        write_all(data)


def send(kind, stream, status, text):
    global sending
    with send_lock:
        sending = True
        write_frame(kind, stream, status, text)
        sending = False


def error_body(text):
    return f'{{"error":{quote(text)}}}'


def refuse(stream, text):
    send(RESULT, stream, STATUS_FAILED, error_body(text))


# --- JSON -------------------------------------------------------------------------------------------------------------
class Syntax:
    """What `json.loads` reads."""
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


scan = make_scanner(Syntax)


def parse(payload):
    """The object of a frame, or the exception by which Python refuses JSON that asks too much, as for many digits."""
    try:
        text = str(payload, 'utf-8').strip()
        body, end = scan(text, 0)
    except BaseException as error:
        if type(error) in (ValueError, RecursionError, MemoryError):
            return error
        die(EXIT_BAD_FRAME, 'a frame is not JSON')
    if end != len(text):
        die(EXIT_BAD_FRAME, 'a frame is not JSON')
    if type(body) is not dict:
        die(EXIT_BAD_FRAME, 'a frame is not an object')
    return body


def encode_other(value):
    """As `json.dumps`, so that an action can teach `json` its types."""
    encoder = getattr(modules.get('json'), 'JSONEncoder', None)
    if encoder is not None:
        return encoder().default(value)
    raise TypeError(f'Object of type {type(value).__name__} is not JSON serializable')


def encode(value):
    # Made for each value: what it remembers to find cycles must not be that of another.
    return ''.join(make_encoder({}, encode_other, quote, None, ':', ',', False, False, False)(value, 0))


# --- stdout and stderr ------------------------------------------------------------------------------------------------
def no_call():
    return None


# The call that the running code belongs to, where calls overlap: the context variable, and what reads it.
current = None
current_call = no_call


class Output(BufferedIOBase):
    """What is written here goes to the call that the running code belongs to, else to the pipe."""

    def __init__(self, number, name):
        self.number = number
        self.name = name

    def writable(self):
        return True

    def fileno(self):
        return self.number

    def write(self, data):
        data = bytes(memoryview(data))
        call = current_call()
        if call is None or forked or not log(call, self.number, data):
            write_pipe(self.number, data)
        return len(data)

    def close(self):
        """Nothing: an action that wraps this in a stream of its own closes it with that."""


def write_pipe(number, data):
    rest = memoryview(data)
    while rest:
        rest = rest[write(number, rest):]


def text_stream(output, **options):
    return TextIOWrapper(output, encoding='utf-8', errors='backslashreplace', **options)


stdout = sys.stdout
stderr = sys.stderr
# Ours alone, so that an action that closes or replaces its streams does not lose what we say about it.
faults = text_stream(Output(STDERR, '<stderr>'))
# Showing an exception may look for a module, and so run what is put off, which may fail, too.
faults_lock = RLock()


def prepare_output():
    """Makes lines go to the pipes when they end, as the process may be killed at any time."""
    for stream in (stdout, stderr):
        stream.reconfigure(errors='backslashreplace', line_buffering=True)


def flush_output():
    """Puts what is still buffered into the pipes."""
    try:
        stdout.flush()
        stderr.flush()
        if sys.stdout is stdout and sys.stderr is stderr:
            return
    except Exception:
        pass  # One was closed: each by itself.
    for name, own in (('stdout', stdout), ('stderr', stderr)):
        for stream in (getattr(sys, name, None), own):
            try:
                stream.flush()
            except Exception:
                pass  # The action closed or replaced it, and so decides about its output.


def report(text):
    with faults_lock:
        try:
            faults.write(f'{text}\n')
            faults.flush()
        except Exception:
            pass  # Nobody reads stderr: the answer tells what happened.


OWN_FILE = report.__code__.co_filename


def report_exception(error):
    """Shows it as Python does, without the part of the stack that is ours."""
    flush_output()
    with faults_lock:
        replaced = getattr(sys, 'stderr', None)
        sys.stderr = faults
        try:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename == OWN_FILE:
                trace = trace.tb_next
            error.__traceback__ = trace
            show_exception(type(error), error, trace)
            faults.flush()
        except Exception:
            pass  # It cannot be shown: the answer tells what happened.
        finally:
            sys.stderr = replaced


def text_of(error):
    try:
        return str(error)
    except Exception:
        return 'an error that cannot be shown'


def describe(error):
    return f'An error has occurred: {type(error).__name__}: {text_of(error)}'


# --- loading the action -----------------------------------------------------------------------------------------------
MODULE = 'main__'
CO_COROUTINE = 0x80


class Unusable(Exception):
    """The action's files are not what they must be; the text is for its log."""


def set_env(env):
    for name, text in env.items():
        try:
            environ[name] = text
        except (OSError, TypeError, ValueError):
            pass  # No environment can hold it: an empty name, a NUL, a lone surrogate.


# The modules that every action finds loaded.
started_with = set()


def forget_shadowed(paths):
    """Forgets what the warm-up imported where the action brings a module of that name, as if there had been none."""
    early = [name for name in modules if name not in started_with]
    packages = {name.partition('.')[0] for name in early}
    specs = {name: PathFinder.find_spec(name, paths) for name in packages}
    for name in early:
        spec = specs[name.partition('.')[0]]
        # A directory without code is no module if there is one elsewhere.
        if spec is not None and spec.has_location:
            del modules[name]


def virtualenv_paths(root):
    """Of this version of Python where there is such, else of any: most packages work with all."""
    lib = join(root, 'lib')
    own = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    versions = [name for name in sorted(os.listdir(lib)) if name.startswith('python3')] if isdir(lib) else []
    found = [join(lib, version, 'site-packages') for version in ([own] if own in versions else versions)]
    # The last is that of Windows.
    return [path for path in (*found, join(root, 'Lib', 'site-packages')) if isdir(path)]


def activate_virtualenv(root):
    """Does what a virtualenv's `activate_this.py` does, which not every tool writes."""
    paths = virtualenv_paths(root)
    if not paths:
        raise Unusable(BAD_VIRTUALENV)
    before = len(sys.path)
    for path in paths:
        site.addsitedir(path)
    sys.path[:] = sys.path[before:] + sys.path[:before]
    sys.prefix = environ['VIRTUAL_ENV'] = root
    environ['PATH'] = os.pathsep.join([join(root, 'bin'), environ.get('PATH', os.defpath)])


def enter_archive(directory):
    """Makes it the place where the action works; answers the file to load."""
    file = join(directory, '__main__.py')
    if not isfile(file):
        raise Unusable(NO_MAIN_FILE)
    os.chdir(directory)
    virtualenv = join(directory, 'virtualenv')
    if isdir(virtualenv):
        activate_virtualenv(virtualenv)
    return file


def build(path, archive):
    """Compiles the action; answers its module and the code to run in it, or nothing when there is none."""
    before = [*sys.path]
    sys.path.insert(0, path if archive else dirname(path))
    file = enter_archive(path) if archive else path
    forget_shadowed([added for added in sys.path if added not in before])
    with open(file, 'rb') as opened:
        source = opened.read()
    if not source and not archive:
        return None
    code = compile(source, file, 'exec', dont_inherit=True)
    spec = spec_from_file_location(MODULE, file, loader=SourceFileLoader(MODULE, file))
    return module_from_spec(spec), code


def run_module(module, code):
    modules[MODULE] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        modules.pop(MODULE, None)
        raise


def find_main(module, name):
    """The function of that name, which may be `name.of.member`."""
    found = module
    for part in name.split('.'):
        if not hasattr(found, part):
            raise ImportError(f"cannot import name {name!r} from '{MODULE}' ({module.__file__})")
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f'{name!r} is not callable')
    return found


def is_async(function):
    """Whether it, or what it wraps, is an `async def`."""
    for _ in range(WRAPPERS_MAX):
        if getattr(getattr(function, '__code__', None), 'co_flags', 0) & CO_COROUTINE:
            return True
        function = getattr(function, '__wrapped__', None) or getattr(function, 'func', None)
    return False


def event_loop():
    """The event loop of this thread: the one that the action made when it was loaded, else a new one."""
    import asyncio
    import warnings
    with warnings.catch_warnings():
        # Some versions of Python want to be asked only while it runs.
        warnings.simplefilter('ignore')
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            loop = None
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop


def way_of(main, concurrency):
    if concurrency <= 1:
        return Serial(main)
    return Tasks(main) if is_async(main) else Threads(main, concurrency)


# The way in which calls are run, once there is an action.
action = None


def initialise(init):
    """Loads the action; answers why that failed, or nothing."""
    global action
    if action is not None:
        return INITIALISED_BEFORE
    failure = NOT_BUILT
    try:
        concurrency = init.get('concurrency', 1)
        if concurrency > 1 and current is None:
            capture_output()
        set_env(init.get('env') or {})
        built = build(init['path'], init.get('archive')) if init.get('path') else None
        if built is None:
            return MISSING_CODE
        failure = NOT_STARTED
        run_module(*built)
        action = way_of(find_main(built[0], init.get('main') or 'main'), concurrency)
        return None
    except Unusable as error:
        report(error)
    except BaseException as error:
        # Whatever it is, `sys.exit` included: the container of an action that cannot be initialised is not used.
        report_exception(error)
    return failure


def on_init(init):
    failure = initialise(init)
    flush_output()
    if forked:
        leave_child()
    if failure is None:
        send(INIT_DONE, 0, STATUS_OK, '{}')
    else:
        send(INIT_DONE, 0, STATUS_FAILED, error_body(failure))


# --- the environment of a call ----------------------------------------------------------------------------------------
# The variables of the call before: names without prefix, and texts.
last_env = {}
env_keys = {}
# Those that the process's own environment has differently.
stale = set()


def set_call_env(context):
    """Sets the variables of a call where `os.environ` looks. Most have the value of the call before."""
    for name, text in context.items():
        if last_env.get(name) != text and isinstance(text, str):
            if name not in env_keys:
                env_keys[name] = f'__OW_{name.upper()}'.encode('utf-8', 'replace')
            key = env_keys[name]
            variables[key] = text.encode('utf-8', 'replace')
            stale.add(key)
            last_env[name] = text
    if last_env.keys() != context.keys():
        for name in [name for name in last_env if not isinstance(context.get(name), str)]:
            variables.pop(env_keys[name], None)
            stale.add(env_keys[name])
            del last_env[name]


def sync_env():
    """Brings the process's own environment up to date. Not for each call: glibc never frees a value that was set."""
    for key in [*stale]:
        stale.discard(key)
        value = variables.get(key)
        try:
            if value is None:
                unsetenv(key)
            else:
                putenv(key, value)
        except ValueError:
            pass  # No environment can hold it.


def synced(function):
    def with_env(*arguments, **named):
        sync_env()
        return function(*arguments, **named)
    return with_env


def sync_env_for_programs():
    """Has it done whenever Python starts a program, which inherits that environment."""
    for name in ('execv', 'posix_spawn', 'posix_spawnp', 'system'):
        setattr(os, name, synced(getattr(os, name)))
    put_off.append(sync_env_for_subprocess)


def sync_env_for_subprocess():
    """The same for `subprocess` and `multiprocessing`."""
    import _posixsubprocess
    _posixsubprocess.fork_exec = synced(_posixsubprocess.fork_exec)


# --- what is put off until a module is looked for ---------------------------------------------------------------------
# Packages of the host may have code that Python runs when it starts: lines in `.pth` files, and `sitecustomize`. Where
# that imports something, it takes longer than all else of a start, and many an action imports nothing that is not there.
# It runs, in its order, before the first import that has to look for a module.
put_off = []
# What `sys.path` is until then, but for what the action makes of it.
path_of_start = []
# The `.pth` files of which no further line is run.
broken_files = set()


class PutOff:
    """Finds modules before all others do, once."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_import = imports_are_locked()
        if is_import:
            # What was put off may wait for threads that import.
            unlock_imports()
        try:
            run_put_off()
        finally:
            if is_import:
                lock_imports()
        if cls in sys.meta_path:
            return None  # Somebody put it there again.
        if is_import and name in modules:
            # It was imported in the meantime. As long as it is there, the import takes its own loader, and loads another.
            return ModuleSpec(name, Found(modules.pop(name)))
        return find_spec(name, path, target)


class Found:
    """Loads a module that was loaded: by taking it as it is."""

    def __init__(self, module):
        self.module = module
        self.spec = getattr(module, '__spec__', None)

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec


def run_put_off():
    if PutOff in sys.meta_path:
        sys.meta_path.remove(PutOff)
    steps = [*put_off]
    put_off.clear()
    path = [*sys.path]
    # Nothing of it is to find a module of the action's in the place of Python's.
    sys.path[:] = path_of_start
    try:
        for step in steps:
            step()
    finally:
        sys.path[:] = replaced_part(path, path_of_start, [*sys.path])


def replaced_part(whole, part, replacement):
    """A list with another part; what is new of that is added where the part is not found."""
    for start in range(len(whole) - len(part) + 1):
        if whole[start:start + len(part)] == part:
            return whole[:start] + replacement + whole[start + len(part):]
    return whole + [added for added in replacement if added not in part]


def put_off_line(line):
    """What `site` has in the place of `exec`, for the lines of `.pth` files."""
    scope = dict(sys._getframe(1).f_locals)
    put_off.append(lambda: run_line(line, scope, scope.get('sitedir')))


def run_line(line, scope, sitedir):
    """Runs a line as `site` does; some look for their directory in the frame that calls them."""
    file = scope.get('fullname')
    if file in broken_files:
        return
    try:
        exec(line, vars(site), scope)
    except Exception as error:
        broken_files.add(file)
        report(f'Error processing {file}:\n')
        report_exception(error)
        report('\nRemainder of file ignored')


def add_packages():
    """Makes the host's packages importable, as Python does when it starts. It was told to leave that to us."""
    customize = site.execsitecustomize
    site.exec = put_off_line
    site.execsitecustomize = lambda: put_off.append(customize)
    try:
        site.main()
    finally:
        del site.exec
        site.execsitecustomize = customize
    path_of_start[:] = sys.path
    sys.meta_path.insert(0, PutOff)


# --- running the action -----------------------------------------------------------------------------------------------
# What ends a process of Python, and so this one; all else that an action raises is an error of the call.
ENDING = (SystemExit, KeyboardInterrupt, GeneratorExit)


def thrown(error):
    """An exception is an application error with its text."""
    report_exception(error)
    return STATUS_OK, error_body(text_of(error))


def returned(result):
    try:
        text = encode(result)
    except ENDING:
        raise
    except BaseException as error:
        report_exception(error)
        return STATUS_FAILED, error_body(describe(error))
    # OpenWhisk lets `null` pass here, too, and refuses it later.
    if text[0] in '{[' or text == 'null':
        return STATUS_OK, text
    return STATUS_FAILED, error_body(NO_DICTIONARY)


def as_it_is(value):
    return value


def run_plain(main, value, finish):
    """Runs the action; `finish` does the rest where that turns out to be asynchronous."""
    try:
        result = main(value)
    except ENDING:
        raise
    except BaseException as error:
        return thrown(error)
    if type(result) is not dict and hasattr(type(result), '__await__'):
        return finish(run_async(as_it_is, result))
    return returned(result)


async def run_async(main, value):
    try:
        result = main(value)
        if hasattr(type(result), '__await__'):
            result = await result
    except ENDING:
        raise
    except BaseException as error:
        return thrown(error)
    return returned(result)


class Serial:
    """Calls one after the other, in the main thread. Between calls the event loop stands still, but is kept."""

    def __init__(self, main):
        self.main = main
        self.loop = event_loop() if is_async(main) else None

    def serve(self):
        while True:
            receive()

    def run(self, stream, value):
        if self.loop is None:
            status, text = run_plain(self.main, value, self.finish)
        else:
            status, text = self.finish(run_async(self.main, value))
        flush_output()
        if forked:
            leave_child()
        write_frame(RESULT, stream, status, text)

    def finish(self, coroutine):
        if self.loop is None:
            self.loop = event_loop()
        try:
            return self.loop.run_until_complete(coroutine)
        except ENDING:
            raise
        except BaseException as error:
            # The action stopped or closed the loop, or cancelled what had not begun.
            return thrown(error)


def on_run(stream, body):
    if isinstance(body, Exception):
        return refuse(stream, describe(body))
    if action is None:
        return refuse(stream, NO_ACTION)
    value = body.pop('value', None)
    set_call_env(body)
    action.run(stream, {} if value is None else value)


# --- calls that overlap -----------------------------------------------------------------------------------------------
class Call:
    """A call that may overlap with others."""
    __slots__ = ('stream', 'ended', 'lines')

    def __init__(self, stream):
        self.stream = stream
        self.ended = False
        # By output, what it wrote of a line that has not ended.
        self.lines = {STDOUT: bytearray(), STDERR: bytearray()}


def enter_call(stream):
    """Begins a call, which all that runs in this context belongs to from now on."""
    call = Call(stream)
    current.set(call)
    return call


def send_line(call, output):
    text = str(call.lines[output], 'utf-8', 'replace')
    call.lines[output].clear()
    for start in range(0, len(text), LOG_PIECE_CHARACTERS_MAX):
        write_frame(LOG, call.stream, output, text[start:start + LOG_PIECE_CHARACTERS_MAX])


def log(call, output, data):
    """Takes what a call wrote; says whether it could."""
    global sending
    with send_lock:
        # What a finaliser or a signal handler prints while its thread sends a frame belongs to no call anyway.
        if sending or call.ended:
            return False
        sending = True
        call.lines[output] += data
        if b'\n' in data or len(call.lines[output]) > LINE_BYTES_MAX:
            send_line(call, output)
        sending = False
        return True


def answer(call, status, text):
    """Ends a call: what it writes from now on belongs to no call."""
    global sending
    flush_output()
    if forked:
        leave_child()
    with send_lock:
        sending = True
        for output in call.lines:
            send_line(call, output)
        call.ended = True
        write_frame(RESULT, call.stream, status, text)
        sending = False


def capture_output():
    """Gives what calls write to those calls."""
    global Thread, copy_context, current, current_call, faults, start_thread, stderr, stdout
    from contextvars import ContextVar, copy_context
    from threading import Thread
    current = ContextVar('call', default=None)
    current_call = current.get
    start_thread = Thread.start
    carry_calls()
    # None holds anything back, as the next to write may belong to another call.
    stdout = sys.stdout = text_stream(Output(STDOUT, '<stdout>'), write_through=True)
    stderr = sys.stderr = text_stream(Output(STDERR, '<stderr>'), write_through=True)
    faults = text_stream(Output(STDERR, '<stderr>'), write_through=True)


def carry_calls():
    """Makes a thread a part of the call that starts it, and what a pool of threads runs of the one that submits it."""
    from concurrent.futures.thread import ThreadPoolExecutor
    submit = ThreadPoolExecutor.submit

    def start_as_part(thread):
        call, run = current_call(), thread.run

        def run_as_part():
            current.set(call)
            run()

        if call is not None:
            thread.run = run_as_part
        start_thread(thread)

    def submit_as_part(executor, function, /, *arguments, **named):
        call = current_call()

        def part():
            before = current.set(call)
            try:
                return function(*arguments, **named)
            finally:
                current.reset(before)

        # What another kind of executor runs may have to be pickled.
        if type(executor) is not ThreadPoolExecutor:
            return submit(executor, function, *arguments, **named)
        return submit(executor, part)

    Thread.start = start_as_part
    ThreadPoolExecutor.submit = submit_as_part


def end_process(error):
    """Ends the process where other calls are running, as Python ends it for what the main thread raises."""
    code = error.code if isinstance(error, SystemExit) else EXIT_FAULT
    if not isinstance(error, SystemExit):
        report_exception(error)
    elif code is not None and not isinstance(code, int):
        report(code)
        code = EXIT_FAULT
    flush_output()
    _exit((code or 0) & 0xFF)


class Threads:
    """Calls of a plain function, each in a thread; the main thread reads."""

    def __init__(self, main, threads_max):
        from queue import SimpleQueue
        self.main = main
        self.threads = 0
        self.threads_max = threads_max
        # Calls that wait for a thread. The proxy keeps to the concurrency, so there is a thread for each, or soon is.
        self.waiting = SimpleQueue()
        self.unanswered = set()

    def serve(self):
        while True:
            receive()

    def run(self, stream, value):
        context = copy_context()
        call = context.run(enter_call, stream)
        self.unanswered.add(call)
        if self.threads < min(len(self.unanswered), self.threads_max):
            self.add_thread()
        if self.threads > 0:
            self.waiting.put((context, call, value))
        else:
            self.unanswered.discard(call)
            refuse(stream, 'An error has occurred: no thread can be started')

    def add_thread(self):
        try:
            start_thread(Thread(target=self.work, name=f'call-{self.threads}', daemon=True))
        except RuntimeError:
            return  # The sandbox allows no more, so those that there are have to do.
        self.threads += 1

    def work(self):
        while True:
            context, call, value = self.waiting.get()
            context.run(self.run_call, call, value)
            # Nothing of a call stays while there is none.
            del context, call, value

    def run_call(self, call, value):
        try:
            status, text = run_plain(self.main, value, self.finish)
            # Before the answer, which may bring the next call.
            self.unanswered.discard(call)
            answer(call, status, text)
        except BaseException as error:
            end_process(error)

    def finish(self, coroutine):
        from asyncio import run
        return run(coroutine)


class Tasks:
    """Calls of an async function, each a task of the main thread's event loop, which also reads."""

    def __init__(self, main):
        self.main = main
        self.loop = event_loop()
        # By task: the loop itself does not hold its tasks.
        self.calls = {}

    def serve(self):
        self.loop.add_reader(SOCKET, receive)
        try:
            while True:
                self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # At once: being taken apart is nothing that other calls expect.
            end_process(error)

    def run(self, stream, value):
        copy_context().run(self.start, stream, value)

    def start(self, stream, value):
        call = enter_call(stream)
        task = self.loop.create_task(self.run_call(call, value))
        self.calls[task] = call
        task.add_done_callback(self.on_done)

    async def run_call(self, call, value):
        answer(call, *await run_async(self.main, value))

    def on_done(self, task):
        call = self.calls.pop(task)
        if task.cancelled():
            # Before it began.
            answer(call, STATUS_OK, error_body(''))
        elif task.exception() is not None:
            end_process(task.exception())


# --- reading frames ---------------------------------------------------------------------------------------------------
def read_some():
    try:
        data = read(SOCKET, READ_BYTES)
    except OSError:
        die(EXIT_LOST)
    if not data:
        die(EXIT_CLOSED)
    return data


def take(data, start, size):
    """A payload, of which the first bytes came. The proxy writes frames whole, so the rest is not long in coming."""
    begin = data[start:start + size]
    if len(begin) == size:
        return begin
    payload = bytearray(size)
    rest = memoryview(payload)
    rest[:len(begin)] = begin
    rest = rest[len(begin):]
    while rest:
        try:
            count = readv(SOCKET, [rest])
        except OSError:
            die(EXIT_LOST)
        if count == 0:
            die(EXIT_CLOSED)
        rest = rest[count:]
    return payload


def read_early():
    """What came already, if anything."""
    set_blocking(SOCKET, False)
    try:
        return read(SOCKET, READ_BYTES) or die(EXIT_CLOSED)
    except BlockingIOError:
        return b''
    except OSError:
        die(EXIT_LOST)
    finally:
        set_blocking(SOCKET, True)


def receive(data=b''):
    """Reads once, if nothing was read, and handles each frame that came or began."""
    data = data or read_some()
    at = 0
    while at < len(data):
        if len(data) - at < HEADER_BYTES:
            data = data[at:] + read_some()
            at = 0
            continue
        head = integer_of(data[at:at + HEADER_BYTES], 'little')
        size = (head & LENGTH_MASK) - HEAD_TAIL_BYTES
        if not 0 <= size <= PAYLOAD_BYTES_MAX:
            die(EXIT_BAD_FRAME, f'frame length {size} is out of range')
        start = at + HEADER_BYTES
        at = start + size
        kind = head >> KIND_SHIFT & KIND_MASK
        # No payload has a name here: it may be large, and the call long.
        if kind == RUN:
            on_run(head >> STREAM_SHIFT, parse(take(data, start, size)))
        elif kind == INIT:
            on_init(parse(take(data, start, size)))
        elif kind == CANCEL or kind == CHUNK:
            take(data, start, size)
        else:
            die(EXIT_BAD_FRAME, f'frame type {kind} is unknown')


# --- start ------------------------------------------------------------------------------------------------------------
def rehearse():
    """Walks the way of a first action."""
    file = '/warm/up.py'
    module = module_from_spec(spec_from_file_location(MODULE, file, loader=SourceFileLoader(MODULE, file)))
    exec(compile(b'def main(args):\n    return args\n', file, 'exec', dont_inherit=True), module.__dict__)
    body = parse(b'{"value":{"a":"b"},"warm":"up"}')
    value = body.pop('value')
    set_call_env(body)
    set_call_env({})
    run_plain(find_main(module, 'main'), value, None)
    flush_output()


def import_common():
    """Imports what most actions import, with much below it."""
    import json


def start_packages():
    """Runs what the host's packages run when Python starts."""
    run_put_off()
    started_with.update(modules)


def warm_up():
    """Does in advance what the first action would wait for, while there is none. Answers what came then."""
    for step in (rehearse, start_packages, import_common):
        data = read_early()
        if data:
            return data
        step()
    return b''


def start():
    set_inheritable(SOCKET, False)
    set_blocking(SOCKET, True)
    register_at_fork(after_in_child=on_fork)
    sync_env_for_programs()
    prepare_output()
    # The action must not find this module by the name that is usual for a program's own.
    modules['__main__'] = type(sys)('__main__')
    add_packages()
    started_with.update(modules)
    return warm_up()


def serve(data):
    try:
        while action is None:
            receive(data)
            data = b''
        action.serve()
    except Exception as error:
        # A fault of ours, or raised by a signal handler of the action between calls: the state is unknown.
        show_exception(type(error), error, error.__traceback__)
        _exit(EXIT_FAULT)


serve(start())
