<?php
// The launcher of the PHP runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.
//
// Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's PHP runtime
// (openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for what this launcher decides.
//
// The action's code shares this process and its global scope, so nothing of the launcher is there: its names are in a
// namespace, and its state is in objects that no global variable holds.

declare(strict_types=1);

namespace Triplane;

use Closure;
use FFI;
use FFI\CData;
use stdClass;
use Throwable;

// What each call uses. A function that is not imported is looked for in the namespace first.
use function count, is_array, is_object, is_string, json_decode, json_encode, ob_get_level, pack, strlen;
use function substr, unpack;

const PROTOCOL = 1;
const STDERR_FD = 2;
const SOCKET_FD = 3;
const HELLO = 0x01;
const INIT_DONE = 0x02;
const RESULT = 0x03;
const CHUNK = 0x05;
const INIT = 0x10;
const RUN = 0x11;
const CANCEL = 0x12;
const STATUS_OK = "\0";
const STATUS_FAILED = "\1";

const HEADER_BYTES = 9;
const LENGTH_BYTES = 4;
// A header is the length, then type and stream, which the length counts.
const HEAD_TAIL_BYTES = 5;
// A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
const PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;
const READ_BYTES = 64 * 1024;
// Beyond about 3000 levels PHP takes JSON for none. Its own limit, 512, is less than what other languages send.
const NESTING_MAX = 2048;
const JSON_FLAGS = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;

// The same wherever Linux is; PHP does not have them.
const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const EINTR = 4;
const PROT_READ_AND_WRITE = 3;
const MAP_PRIVATE_AND_ANONYMOUS = 0x22;
const MADV_WIPEONFORK = 18;
const PAGE_BYTES = 4096;

// Of no use to an action: the one can be loaded at the start only, the other reads from terminals.
const EXTENSIONS_LEFT_OUT = ['opcache', 'readline'];
const FATAL_ERRORS = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;

const EXIT_CLOSED = 0;
const EXIT_BAD_FRAME = 70;
const EXIT_LOST = 71;

// --- the process -----------------------------------------------------------------------------------------------------

/** What PHP itself has no function for, or a slow one. */
function libc(): FFI
{
    static $libc = null;
    return $libc ??= FFI::cdef('
        struct __attribute__((packed)) frame {
            unsigned int length;
            unsigned char kind;
            unsigned int stream;
            char payload[65527];
        };
        void *mmap(void *address, size_t bytes, int protection, int flags, int fd, long offset);
        int madvise(void *address, size_t bytes, int advice);
        long read(int fd, void *bytes, size_t count);
        long write(int fd, const char *bytes, size_t count);
        int fcntl(int fd, int command, ...);
        int putenv(char *assignment);
        int *__errno_location(void);
        void _exit(int status);
    ');
}

function writeLog(string $text): void
{
    // Not by a stream: when that fails, an action's error handler may throw.
    libc()->write(STDERR_FD, "$text\n", strlen($text) + 1);
}

function logError(Throwable $error): void
{
    try {
        writeLog((string) $error);
    } catch (Throwable) {
        writeLog($error::class . ', which cannot be shown');
    }
}

/** Ends the process at once: what the action registered for its end may take forever. */
function leave(int $code, string $text = ''): never
{
    if ($text !== '') {
        writeLog("launcher: $text");
    }
    libc()->_exit($code);
}

/** Sets what OpenWhisk's runtime has in its php.ini, but for what only the command line can set. */
function configure(): void
{
    error_reporting(E_ALL);
    ini_set('display_errors', '0');
    ini_set('log_errors', '1');
    // The sandbox limits the memory, and says so when an action needed more.
    ini_set('memory_limit', '-1');
    // Without it PHP ends, and says nothing, when an action closed its stdout and then prints.
    ignore_user_abort(true);
}

/** Loads all extensions that the host has: the interpreter says HELLO sooner if it starts without them. */
function loadExtensions(): void
{
    $files = glob(ini_get('extension_dir') . '/*.so') ?: [];
    $names = array_diff(array_map(static fn (string $file) => basename($file, '.so'), $files), EXTENSIONS_LEFT_OUT);
    do {
        // One that needs another is refused until that is there.
        $count = count($names);
        $names = array_filter($names, static fn (string $name) => !extension_loaded($name) && !@dl($name));
    } while ($names !== [] && count($names) < $count);
}

// --- frames ----------------------------------------------------------------------------------------------------------

/**
 * The socket. PHP's own streams would duplicate its descriptor, for each program that an action starts to inherit, and
 * poll before each read. Reading blocks: calls do not overlap, so there is nothing else to do.
 */
final class Socket
{
    /** The type and the stream of the frame that was received last. */
    public int $kind = 0;
    public int $stream = 0;
    private readonly FFI $libc;
    /** Not zero but in a process that the action forked, where the kernel wipes it. */
    private readonly CData $own;
    /** Where reads go to, as the frame that comes mostly; then its bytes and the payload among them. */
    private readonly CData $frame;
    private readonly CData $bytes;
    private readonly CData $payload;
    /** What was read beside one frame that came whole, and how much of it was taken. */
    private string $read = '';
    private int $taken = 0;

    public function __construct()
    {
        $this->libc = libc();
        $this->own = $this->wipedOnFork();
        $this->frame = $this->libc->new('struct frame');
        $this->bytes = $this->libc->cast('char *', FFI::addr($this->frame));
        $this->payload = FFI::addr($this->frame->payload[0]);
        $this->libc->fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
        // No flags: reads and writes block.
        $this->libc->fcntl(SOCKET_FD, F_SETFL, 0);
    }

    private function wipedOnFork(): CData
    {
        $libc = $this->libc;
        $page = $libc->mmap(null, PAGE_BYTES, PROT_READ_AND_WRITE, MAP_PRIVATE_AND_ANONYMOUS, -1, 0);
        if ($libc->madvise($page, PAGE_BYTES, MADV_WIPEONFORK) !== 0) {
            leave(EXIT_LOST, 'memory cannot be kept from processes that are forked, which takes Linux 4.14');
        }
        $own = $libc->cast('unsigned char *', $page);
        $own[0] = 1;
        return $own;
    }

    /** The payload of the next frame. */
    public function receive(): string
    {
        if ($this->read !== '') {
            return $this->receiveInPieces();
        }
        $frame = $this->frame;
        $count = $this->libc->read(SOCKET_FD, $this->bytes, READ_BYTES);
        if ($count >= HEADER_BYTES && $frame->length === $count - LENGTH_BYTES) {
            $this->kind = $frame->kind;
            $this->stream = $frame->stream;
            return FFI::string($this->payload, $count - HEADER_BYTES);
        }
        $this->read = $this->readBytes($count) ?? $this->readSome(READ_BYTES);
        return $this->receiveInPieces();
    }

    /** The payload of a frame of which more or less than all came in one piece. */
    private function receiveInPieces(): string
    {
        while (strlen($this->read) - $this->taken < HEADER_BYTES) {
            $this->read = substr($this->read, $this->taken) . $this->readSome(READ_BYTES);
            $this->taken = 0;
        }
        ['length' => $length, 'kind' => $this->kind, 'stream' => $this->stream] =
            unpack('Vlength/Ckind/Vstream', $this->read, $this->taken);
        $payloadBytes = $length - HEAD_TAIL_BYTES;
        if ($payloadBytes < 0 || $payloadBytes > PAYLOAD_BYTES_MAX) {
            leave(EXIT_BAD_FRAME, "frame length $payloadBytes is out of range");
        }
        $payload = substr($this->read, $this->taken + HEADER_BYTES, $payloadBytes);
        $this->taken += HEADER_BYTES + strlen($payload);
        if ($this->taken === strlen($this->read)) {
            $this->read = '';
            $this->taken = 0;
        }
        while (($missing = $payloadBytes - strlen($payload)) > 0) {
            $payload .= $this->readSome($missing < READ_BYTES ? $missing : READ_BYTES);
        }
        return $payload;
    }

    /** @param string $status the byte before the text; none for HELLO */
    public function send(int $kind, int $stream, string $status, string $text): void
    {
        if ($this->own[0] !== 1) {
            // A process that the action forked has come back here. Only its parent answers.
            exit(0);
        }
        $length = HEAD_TAIL_BYTES + strlen($status) + strlen($text);
        $unsent = pack('VCV', $length, $kind, $stream) . $status . $text;
        while (($sent = $this->libc->write(SOCKET_FD, $unsent, strlen($unsent))) !== strlen($unsent)) {
            if ($sent < 0) {
                $this->goOnOrLeave();
            } else {
                $unsent = substr($unsent, $sent);
            }
        }
    }

    /** Waits for bytes; takes at most so many. */
    private function readSome(int $bytesMax): string
    {
        do {
            $bytes = $this->readBytes($this->libc->read(SOCKET_FD, $this->bytes, $bytesMax));
        } while ($bytes === null);
        return $bytes;
    }

    /** What a read that answered this brought; null when it is to be tried again. */
    private function readBytes(int $count): ?string
    {
        if ($count > 0) {
            return FFI::string($this->bytes, $count);
        }
        return $count < 0 ? $this->goOnOrLeave() : leave(EXIT_CLOSED);
    }

    /** After a failure: a signal may have come in between, anything else is the end. */
    private function goOnOrLeave(): ?string
    {
        return $this->libc->__errno_location()[0] === EINTR ? null : leave(EXIT_LOST);
    }
}

// --- the environment -------------------------------------------------------------------------------------------------

/**
 * A variable that changes with the calls. PHP's putenv would take a good part of the time of a small call, and the
 * system's setenv never frees a value. So its text is in memory of its own and is changed in place.
 */
final class Variable
{
    public readonly string $name;
    /** Where in `$text` the value is. */
    public ?CData $valueText = null;
    /** Of the value that the environment has; null when it does not have the variable. */
    public ?int $valueBytes = null;
    /** `NAME=value`. */
    private ?CData $text = null;
    private int $valueBytesMax = -1;

    /** @param string $key its name in the frame */
    public function __construct(string $key)
    {
        $this->name = '__OW_' . strtoupper($key);
    }

    /** Sets a value of another length than the one that is there. */
    public function set(string $value): void
    {
        $valueBytes = strlen($value);
        if ($valueBytes > $this->valueBytesMax) {
            $this->grow($valueBytes);
        }
        FFI::memcpy($this->valueText, "$value\0", $valueBytes + 1);
        if ($this->valueBytes === null) {
            libc()->putenv($this->text);
        }
        $this->valueBytes = $valueBytes;
    }

    public function remove(): void
    {
        unset($_ENV[$this->name]);
        putenv($this->name);
        $this->valueBytes = null;
    }

    /** What is outgrown stays, for PHP may have kept a pointer to it. */
    private function grow(int $valueBytes): void
    {
        $start = "$this->name=";
        $this->valueBytesMax = 2 * $valueBytes;
        $bytes = strlen($start) + $this->valueBytesMax + 1;
        $this->text = libc()->new("char[$bytes]", false);
        FFI::memcpy($this->text, $start, strlen($start));
        $this->valueText = FFI::addr($this->text[strlen($start)]);
        $this->valueBytes = null;
    }
}

// --- the life of the action ------------------------------------------------------------------------------------------

final class Launcher
{
    private const CANNOT_START = 'Cannot start action. Check logs for details.';
    private const ERROR_OCCURRED = 'An error occurred running the action.';

    private readonly Socket $socket;
    private string $main = '';
    /** The file with the action's code, once there was an INIT for it. */
    private string $code = '';
    private ?Closure $action = null;
    /** What is to be sent if PHP gives up: a frame's type and stream, and the error. */
    private ?array $owed = null;
    /** @var array<string> the texts that the last call had beside its value */
    private array $callEnv = [];
    /** @var array<Variable> those of all calls, by the same names */
    private array $variables = [];

    public function __construct()
    {
        $this->socket = new Socket();
        $this->socket->send(HELLO, 0, '', json_encode(['protocol' => PROTOCOL]));
    }

    /** What must be done before an INIT, but after HELLO, so that the proxy's work and ours overlap. */
    public function prepare(): void
    {
        configure();
        loadExtensions();
        // Registered only at the end, it comes after all that the action registers.
        register_shutdown_function(fn () => register_shutdown_function($this->payOwed(...)));
    }

    /** Serves frames until there is code to load. */
    public function serve(): void
    {
        $socket = $this->socket;
        for (;;) {
            $payload = $socket->receive();
            $kind = $socket->kind;
            if ($kind === CANCEL || $kind === CHUNK) {
                continue;
            }
            if ($kind !== RUN && $kind !== INIT) {
                leave(EXIT_BAD_FRAME, "frame type $kind is unknown");
            }
            $body = json_decode($payload, true, NESTING_MAX);
            // It may be large, and is not needed while the action runs.
            $payload = '';
            if (!is_array($body)) {
                $body = self::refuse();
            }
            if ($kind === RUN) {
                $this->run($socket->stream, $body);
            } elseif ($this->init($body)) {
                return;
            }
            // Freed now, not when the next call is there.
            $body = null;
        }
    }

    /** What becomes of a frame that is no array: null when it is JSON, but none that PHP can take. */
    private static function refuse(): ?array
    {
        return match (json_last_error()) {
            JSON_ERROR_NONE => leave(EXIT_BAD_FRAME, 'a frame is not an object'),
            JSON_ERROR_DEPTH, JSON_ERROR_UTF16 => null,
            default => leave(EXIT_BAD_FRAME, 'a frame is not JSON'),
        };
    }

    // --- init --------------------------------------------------------------------------------------------------------

    /** Takes an INIT; says whether there is code to load. */
    private function init(?array $init): bool
    {
        if ($this->code !== '') {
            return $this->initFailed('Cannot initialize the action more than once.');
        }
        $main = $init['main'] ?? '';
        $path = $init['path'] ?? '';
        $archive = $init['archive'] ?? false;
        if ($main === '' || $path === '' || (!$archive && @filesize($path) === 0)) {
            return $this->initFailed('Missing main/no code to execute.');
        }
        if ($archive && !is_file("$path/index.php")) {
            return $this->initFailed('Zipped actions must contain index.php at the root.');
        }
        $this->main = $main;
        $this->code = $archive ? "$path/index.php" : $path;
        $this->owed = [INIT_DONE, 0, self::CANNOT_START];
        self::setEnv($init['env'] ?? []);
        return !$archive || $this->enterArchive($path);
    }

    /** Makes an archive the place to work in; says whether its index.php can be loaded. */
    private function enterArchive(string $directory): bool
    {
        chdir($directory);
        $autoload = "$directory/vendor/autoload.php";
        try {
            if (is_file($autoload)) {
                require $autoload;
            }
            return true;
        } catch (Throwable $error) {
            return $this->loadFailed($error);
        }
    }

    public function code(): string
    {
        return $this->code;
    }

    /** The code was loaded: does it have the function? */
    public function loaded(): void
    {
        if (!is_callable($this->main)) {
            writeLog("The function $this->main is missing.");
            $this->initFailed(self::CANNOT_START);
            return;
        }
        $this->action = Closure::fromCallable($this->main);
        $this->answer(INIT_DONE, 0, STATUS_OK, '{}');
    }

    public function loadFailed(Throwable $error): bool
    {
        logError($error);
        return $this->initFailed(self::CANNOT_START);
    }

    private function initFailed(string $text): bool
    {
        $this->answerError(INIT_DONE, 0, $text);
        return false;
    }

    /** As if the process had been started with it, as it is in OpenWhisk: PHP shows that in $_SERVER, too. */
    private static function setEnv(array $env): void
    {
        foreach ($env as $name => $value) {
            if ($name === '' || str_contains((string) $name, '=')) {
                // The system has no such names.
                continue;
            }
            putenv("$name=$value");
            $_ENV[$name] = $_SERVER[$name] = $value;
        }
    }

    // --- calls -------------------------------------------------------------------------------------------------------

    private function run(int $stream, ?array $body): void
    {
        if ($body === null) {
            $this->answerError(RESULT, $stream, 'the argument cannot be decoded: ' . json_last_error_msg());
            return;
        }
        if ($this->action === null) {
            $this->answerError(RESULT, $stream, 'no action defined yet');
            return;
        }
        $value = $body['value'] ?? [];
        unset($body['value']);
        $this->setCallEnv($body);
        $this->owed = [RESULT, $stream, self::ERROR_OCCURRED];
        try {
            $json = self::encode(($this->action)($value));
        } catch (Throwable $error) {
            logError($error);
            $this->answerError(RESULT, $stream, self::ERROR_OCCURRED);
            return;
        }
        if ($json === null) {
            $this->answerError(RESULT, $stream, 'The action did not return a dictionary or array.');
        } else {
            $this->answer(RESULT, $stream, STATUS_OK, $json);
        }
    }

    /** The JSON of a result; null, and why in the log, when it has none. */
    private static function encode(mixed $result): ?string
    {
        if (is_object($result) && method_exists($result, 'getArrayCopy')) {
            $result = $result->getArrayCopy();
        }
        // PHP does not tell an empty list from an empty dictionary. An action that returns nothing means the latter.
        if ($result === [] || $result === null) {
            return '{}';
        }
        if (!is_array($result) && !$result instanceof stdClass) {
            $text = is_scalar($result) ? ": $result" : '';
            writeLog('Result must be an array but has type "' . gettype($result) . '"' . $text);
            return null;
        }
        $json = json_encode($result, JSON_FLAGS, NESTING_MAX);
        if ($json === false) {
            writeLog('Result cannot be encoded as JSON: ' . json_last_error_msg());
            return null;
        }
        return $json;
    }

    /**
     * Sets the variables of a call: what came beside its value, as far as it is text. Most have the value of the call
     * before, and the others its length.
     */
    private function setCallEnv(array $context): void
    {
        $last = $this->callEnv;
        $texts = 0;
        $added = 0;
        foreach ($context as $key => $text) {
            if (!is_string($text)) {
                continue;
            }
            $texts += 1;
            $before = $last[$key] ?? null;
            if ($before === $text) {
                continue;
            }
            if ($before === null) {
                $added += 1;
            }
            $variable = $this->variables[$key] ??= new Variable((string) $key);
            $_ENV[$variable->name] = $text;
            if (strlen($text) === $variable->valueBytes) {
                FFI::memcpy($variable->valueText, $text, $variable->valueBytes);
            } else {
                $variable->set($text);
            }
        }
        $this->callEnv = $texts === count($context) ? $context : array_filter($context, is_string(...));
        if ($texts < count($last) + $added) {
            $this->removeFromEnv(array_diff_key($last, $this->callEnv));
        }
    }

    private function removeFromEnv(array $gone): void
    {
        foreach (array_keys($gone) as $key) {
            $this->variables[$key]->remove();
        }
    }

    // --- answers -----------------------------------------------------------------------------------------------------

    private function answerError(int $kind, int $stream, string $text): void
    {
        $this->answer($kind, $stream, STATUS_FAILED, json_encode(['error' => $text], JSON_FLAGS));
    }

    private function answer(int $kind, int $stream, string $status, string $text): void
    {
        if (ob_get_level() > 0) {
            self::endOutput();
        }
        $this->owed = null;
        $this->socket->send($kind, $stream, $status, $text);
    }

    /** Ends the buffers that the action left open, so that all it printed is in the pipe before the answer. */
    private static function endOutput(): void
    {
        try {
            while (ob_get_level() > 0 && @ob_end_flush());
        } catch (Throwable $error) {
            logError($error);
        }
    }

    /** PHP ends. If that is for an error that no code can catch, the proxy gets the answer that it waits for. */
    private function payOwed(): void
    {
        $type = error_get_last()['type'] ?? 0;
        if ($this->owed !== null && ($type & FATAL_ERRORS) !== 0) {
            $this->answerError(...$this->owed);
        }
    }
}

// --- start -----------------------------------------------------------------------------------------------------------

function launcher(): Launcher
{
    static $launcher = new Launcher();
    return $launcher;
}

if (!extension_loaded('ffi') && !@dl('ffi')) {
    fwrite(STDERR, "launcher: PHP's extension FFI is not installed\n");
    exit(EXIT_LOST);
}
launcher()->prepare();
for (;;) {
    launcher()->serve();
    try {
        // Here, so that the variables of the file are global ones.
        require launcher()->code();
        launcher()->loaded();
    } catch (Throwable $error) {
        launcher()->loadFailed($error);
        unset($error);
    }
}
