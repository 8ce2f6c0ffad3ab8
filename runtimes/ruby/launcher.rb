# frozen_string_literal: true

# The launcher of the Ruby runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.
#
# Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Ruby runtime
# (openwhisk-api.md 11.2, 11.3, 11.6). See README.md for what follows from it and for what this launcher decides.
#
# The action's code shares this process and may change any class. What is used after it was loaded is therefore captured
# here, as methods that are bound again where they are called; and by then the name of this module is gone. Classes are
# compared as in `Hash === value`, which asks nothing of the value.
module TriplaneLauncher
  PROTOCOL = 1
  SOCKET_FD = 3
  HELLO = 0x01
  INIT_DONE = 0x02
  RESULT = 0x03
  CHUNK = 0x05
  INIT = 0x10
  RUN = 0x11
  CANCEL = 0x12
  STATUS_OK = 0
  STATUS_FAILED = 1

  HEADER_BYTES = 9
  # A header is the length, then type and stream, which the length counts.
  HEAD_TAIL_BYTES = 5
  # A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
  PAYLOAD_BYTES_MAX = 128 * 1024 * 1024
  READ_BYTES = 64 * 1024

  EXIT_CLOSED = 0
  EXIT_BAD_FRAME = 70
  EXIT_LOST = 71

  # --- captured before user code runs ---------------------------------------------------------------------------------
  BYTESIZE = String.instance_method(:bytesize)
  BYTESLICE = String.instance_method(:byteslice)
  GETBYTE = String.instance_method(:getbyte)
  APPEND = String.instance_method(:<<)
  UPCASE = String.instance_method(:upcase)
  UNPACK = String.instance_method(:unpack)
  PACK = Array.instance_method(:pack)
  EACH = Hash.instance_method(:each)
  CLASS_OF = Kernel.instance_method(:class)
  METHOD_OF = Kernel.instance_method(:method)
  PUBLIC_METHOD_OF = Kernel.instance_method(:public_method)
  CONSTANT_OF = Module.instance_method(:const_get)
  GSUB = String.instance_method(:gsub)
  SCRUB = String.instance_method(:scrub)
  FORCE_ENCODING = String.instance_method(:force_encoding)
  FULL_MESSAGE = Exception.instance_method(:full_message)
  SET_ENV = ENV.method(:[]=)
  DELETE_ENV = ENV.method(:delete)
  TOPLEVEL_SELF = TOPLEVEL_BINDING.receiver
  EXIT_NOW = Process.method(:exit!)
  WRITE_LOG = $stderr.method(:write)

  # The process as a whole.
  module Host
    class << self
      # Ends it at once: what the action registered for its end may take forever.
      def leave(code, text = nil)
        log("launcher: #{text}\n") if text
        EXIT_NOW.call(code)
      end

      def log(text)
        WRITE_LOG.call(text)
      rescue IOError, SystemCallError
        # The action closed its stderr, or nobody reads it any more.
      end

      # What was written goes into the pipe, also if the action replaced the output or lets it buffer.
      def flush(output)
        output.flush
      rescue StandardError
        # It is closed, or nobody reads it any more.
      end

      # RubyGems would take most of the time in which the interpreter starts, so it starts without. It is loaded when
      # the action names `Gem`, or requires what is not found otherwise.
      def load_gems_when_needed
        Object.autoload(:Gem, 'rubygems')
        require_was = Kernel.instance_method(:require)
        Kernel.module_eval do
          define_method(:require) do |path|
            begin
              return require_was.bind_call(self, path)
            rescue LoadError => error
              raise unless error.path == path && Object.autoload?(:Gem)
            end
            Kernel.module_eval { private define_method(:require, require_was) }
            Object.const_get(:Gem)
            require path
          end
          private :require
        end
      end
    end
  end

  # --- frames ---------------------------------------------------------------------------------------------------------

  # The socket. Reading blocks: calls do not overlap, so there is nothing else to do.
  class Wire
    def initialize
      @socket = IO.for_fd(SOCKET_FD, 'r+b')
      @socket.sync = true
      @socket.close_on_exec = true
      # These stay what they are, whatever becomes of IO's.
      @socket.singleton_class.alias_method(:read_some, :readpartial)
      @socket.singleton_class.alias_method(:write_all, :write)
      @pid = $$
      @buffer = String.new(capacity: READ_BYTES)
      @rest = nil
      send_hello
    rescue SystemCallError, ArgumentError
      Host.leave(EXIT_LOST)
    end

    # The next frame: its type, its stream and its payload.
    def receive_frame
      bytes = @rest || read(READ_BYTES)
      bytes = more(bytes) while BYTESIZE.bind_call(bytes) < HEADER_BYTES
      length, kind, stream, payload = UNPACK.bind_call(bytes, 'VCVa*')
      payload_bytes = length - HEAD_TAIL_BYTES
      if payload_bytes < 0 || payload_bytes > PAYLOAD_BYTES_MAX
        Host.leave(EXIT_BAD_FRAME, "frame length #{payload_bytes} is out of range")
      end
      excess = BYTESIZE.bind_call(payload) - payload_bytes
      @rest = excess > 0 ? BYTESLICE.bind_call(payload, payload_bytes, excess) : nil
      payload = BYTESLICE.bind_call(payload, 0, payload_bytes) if excess > 0
      complete(payload, -excess) if excess < 0
      [kind, stream, payload]
    end

    # The status is a number.
    def send_frame(kind, stream, status, text)
      # A process that the action forked has come back here. Only its parent answers.
      EXIT_NOW.call(0) unless $$ == @pid
      length = HEAD_TAIL_BYTES + 1 + BYTESIZE.bind_call(text)
      @socket.write_all(PACK.bind_call([length, kind, stream, status, text], 'VCVCa*'))
    rescue SystemCallError
      Host.leave(EXIT_LOST)
    end

    private

    def send_hello
      text = "{\"protocol\":#{PROTOCOL}}"
      @socket.write_all([HEAD_TAIL_BYTES + text.bytesize, HELLO, 0, text].pack('VCVa*'))
    end

    def more(bytes)
      APPEND.bind_call(BYTESLICE.bind_call(bytes, 0, HEADER_BYTES), read(READ_BYTES))
    end

    def complete(payload, missing)
      while missing > 0
        piece = read(missing < READ_BYTES ? missing : READ_BYTES)
        missing -= BYTESIZE.bind_call(piece)
        APPEND.bind_call(payload, piece)
      end
    end

    def read(bytes_max)
      @socket.read_some(bytes_max, @buffer)
    rescue EOFError
      Host.leave(EXIT_CLOSED)
    rescue SystemCallError
      Host.leave(EXIT_LOST)
    end
  end

  # --- the environment ------------------------------------------------------------------------------------------------

  # Memory that the environment points to. The system's setenv, which Ruby's ENV uses, never frees a value; here a value
  # is changed in place.
  class OwnMemory
    attr_reader :copy, :allocate, :put

    def initialize
      require 'fiddle'
      @copy = Fiddle::Pointer.instance_method(:[]=)
      @allocate = Fiddle::Pointer.method(:malloc)
      @put = Fiddle::Function.new(Fiddle.dlopen(nil)['putenv'], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT).method(:call)
    end
  end

  # A variable that calls set.
  class Variable
    # The key is its name in the frame.
    def initialize(key)
      @name = "__OW_#{UPCASE.bind_call(key)}"
      @start = "#{@name}="
      @start_bytes = BYTESIZE.bind_call(@start)
      @bytes_max = -1
    end

    # The memory is nil as long as the system's setenv has to do.
    def set(text, own_memory)
      bytes = BYTESIZE.bind_call(text)
      if bytes == @bytes
        @copy.bind_call(@memory, @start_bytes, bytes, text)
      elsif own_memory
        write(text, bytes, own_memory)
      else
        SET_ENV.call(@name, text)
      end
    rescue SystemCallError, ArgumentError
      # The system has no such names or values.
    end

    def remove
      DELETE_ENV.call(@name)
      @bytes = nil
    end

    private

    def write(text, bytes, own_memory)
      grow(bytes, own_memory) if bytes > @bytes_max
      @copy.bind_call(@memory, @start_bytes, bytes + 1, "#{text}\0")
      own_memory.put.call(@memory) if @bytes.nil?
      @bytes = bytes
    end

    # What is outgrown stays, for the action may have kept a pointer to it.
    def grow(bytes, own_memory)
      @bytes_max = bytes * 2
      @memory = own_memory.allocate.call(@start_bytes + @bytes_max + 1)
      @copy = own_memory.copy
      @copy.bind_call(@memory, 0, @start_bytes, @start)
      @bytes = nil
    end
  end

  # The variables of the calls, one call after the other.
  class CallEnv
    # To load what own memory needs takes longer than a first call may, and the calls until here lose little.
    CALLS_BEFORE_OWN_MEMORY = 1000
    ENV_CHANGERS =
      %i[[]= store delete delete_if reject! select! filter! keep_if clear replace update merge! shift].freeze

    def initialize
      @calls = 0
      # What is set: names as in the frame, their values and variables, in one order.
      @keys = []
      @texts = []
      @variables = []
      @variables_ever = {}
    end

    # Sets what a call has beside its value. Most has the value of the call before.
    def update(body)
      @calls += 1
      use_own_memory if @calls == CALLS_BEFORE_OWN_MEMORY
      forget_values if @overwritten
      adopt_names(body) unless body.size == @keys.size + 1 && body.key?('value')
      adopt_names(body) until set_changed(body)
    end

    private

    def use_own_memory
      @own_memory = OwnMemory.new
      watch_env
    rescue LoadError, StandardError
      # Ruby was built without Fiddle.
    end

    # What the action changes by ENV is no more in our memory, though it have the same value.
    def watch_env
      note_change = -> { @overwritten = true }
      watcher = Module.new do
        ENV_CHANGERS.each do |name|
          define_method(name) do |*arguments, &block|
            note_change.call
            super(*arguments, &block)
          end
        end
      end
      ENV.singleton_class.prepend(watcher)
    end

    def forget_values
      @overwritten = false
      i = -1
      while (i += 1) < @keys.size
        @texts[i] = nil
        @variables[i].remove
      end
    end

    # Says whether all were there.
    def set_changed(body)
      keys = @keys
      texts = @texts
      i = 0
      # Blocks would take twice the time.
      while i < keys.size
        text = body[keys[i]]
        unless text == texts[i]
          return false unless String === text

          texts[i] = text
          @variables[i].set(text, @own_memory)
        end
        i += 1
      end
      true
    end

    # Takes the names of a call for those that are set; removes what the call before had and this has not.
    def adopt_names(body)
      staying = {}
      i = -1
      while (i += 1) < @keys.size
        if String === body[@keys[i]]
          staying[@keys[i]] = @texts[i]
        else
          @variables[i].remove
        end
      end
      @keys = []
      @texts = []
      @variables = []
      EACH.bind_call(body) do |key, value|
        next unless String === value && key != 'value'

        @keys << key
        @texts << staying[key]
        @variables << (@variables_ever[key] ||= Variable.new(key))
      end
    end
  end

  # --- the life of the action -----------------------------------------------------------------------------------------

  # Loads the action and runs it.
  class Launcher
    ERROR_OCCURRED = 'Invalid Action: An error occurred running the action'
    NO_DICTIONARY = 'The action did not return a dictionary or array.'
    # A name of a function may have that of its class or module before it.
    MAIN_NAME = /\A(?:(.+)(?:::|\.))?(.+)\z/m
    OWN_FRAMES_AND_END = /\n\tfrom #{Regexp.escape(__FILE__)}:.*|\n\z/
    OPENING_BRACE = '{'.ord
    OPENING_BRACKET = '['.ord

    def initialize
      @wire = Wire.new
      @env = CallEnv.new
    end

    def start
      prepare
      serve
    end

    private

    # What must be done before an INIT, but after HELLO, so that the proxy's work and ours overlap.
    def prepare
      require 'json'
      @new_parser = JSON::Parser.method(:new)
      @parse = JSON::Parser.instance_method(:parse)
      @parser_error = JSON::ParserError
      @nesting_error = JSON::NestingError
      @generate = JSON.method(:generate)
      $stdout.sync = true
      Host.load_gems_when_needed
      Object.send(:remove_const, :TriplaneLauncher)
    end

    def serve
      while true
        kind, stream, payload = @wire.receive_frame
        next if kind == CANCEL || kind == CHUNK

        Host.leave(EXIT_BAD_FRAME, "frame type #{kind} is unknown") unless kind == RUN || kind == INIT
        body = decode(payload)
        # It may be large, and is not needed while the action runs.
        payload = nil
        kind == RUN ? run(stream, body) : init(body)
      end
    end

    # What a frame says; a text that says why not when it is JSON, but none that Ruby can take.
    def decode(payload)
      body = @parse.bind_call(@new_parser.call(payload))
      return body if Hash === body

      Host.leave(EXIT_BAD_FRAME, 'a frame is not an object')
    rescue @parser_error => error
      return error.message if @nesting_error === error || error.message.include?('surrogate')

      Host.leave(EXIT_BAD_FRAME, 'a frame is not JSON')
    end

    # --- init ---------------------------------------------------------------------------------------------------------

    def init(init)
      return init_failed('Cannot initialize the action more than once.') if @code

      main, path, archive = init.values_at('main', 'path', 'archive')
      if main.to_s.empty? || path.to_s.empty? || (!archive && File.zero?(path))
        return init_failed('Missing main/no code to execute.')
      end

      code = archive ? "#{path}/main.rb" : path
      if archive && !File.file?(code)
        return init_failed('Invalid Ruby Code: zipped actions must contain main.rb at the root.')
      end

      @code = code
      set_env(init['env'])
      start_action(main, archive)
    end

    def start_action(main, archive)
      archive ? load_archive : load(@code)
      @main = find(main)
      answer(INIT_DONE, 0, STATUS_OK, '{}')
    rescue SystemExit, SignalException
      raise
    rescue SyntaxError => error
      log_error(error)
      init_failed('Invalid Ruby Code: failed to parse the input code')
    rescue Exception => error
      text = log_error(error)
      # OpenWhisk's runtime has what was written to its two outputs here; the first is in the log only.
      init_failed("Invalid Ruby Code: method checking failed /  / #{text}")
    end

    def load_archive
      directory = File.dirname(@code)
      Dir.chdir(directory)
      $LOAD_PATH.push(directory)
      require @code
    end

    # A method of the top level, or a public one of a class or module.
    def find(main)
      owner, name = MAIN_NAME.match(main).captures
      return METHOD_OF.bind_call(TOPLEVEL_SELF, name) if owner.nil?

      PUBLIC_METHOD_OF.bind_call(CONSTANT_OF.bind_call(Object, owner), name)
    end

    def set_env(env)
      (env || {}).each do |name, value|
        # The system's texts end at a zero byte.
        SET_ENV.call(name, value.to_s.split("\0", 2).first || '')
      rescue SystemCallError, ArgumentError
        # The system has no such names.
      end
    end

    def init_failed(text)
      answer_error(INIT_DONE, 0, text)
    end

    # --- calls --------------------------------------------------------------------------------------------------------

    def run(stream, body)
      return answer_error(RESULT, stream, "the argument cannot be decoded: #{body}") unless Hash === body
      return answer_error(RESULT, stream, 'Invalid Action: no action file found') unless @main

      @env.update(body)
      begin
        result = @main.call(body['value'] || {})
        json = result.to_json
      rescue SystemExit, SignalException
        # The action ends the process.
        raise
      rescue Exception => error
        log_error(error)
        return answer_error(RESULT, stream, ERROR_OCCURRED)
      end
      answer_result(stream, result, json)
    end

    def answer_result(stream, result, json)
      opening = GETBYTE.bind_call(json, 0) if String === json
      return answer(RESULT, stream, STATUS_OK, json) if opening == OPENING_BRACE || opening == OPENING_BRACKET

      Host.log("Result must be an array but has type '#{CLASS_OF.bind_call(result)}': #{json}\n")
      answer_error(RESULT, stream, NO_DICTIONARY)
    end

    # --- answers ------------------------------------------------------------------------------------------------------

    def answer_error(kind, stream, text)
      answer(kind, stream, STATUS_FAILED, @generate.call({ error: text }))
    end

    def answer(kind, stream, status, text)
      Host.flush($stdout)
      Host.flush($stderr)
      @wire.send_frame(kind, stream, status, text)
    end

    # Writes an error as Ruby does, without what is ours in its backtrace, and returns the text.
    def log_error(error)
      text = begin
        FULL_MESSAGE.bind_call(error, highlight: false, order: :top)
      rescue Exception
        "#{CLASS_OF.bind_call(error)}, which cannot be shown"
      end
      text = SCRUB.bind_call(FORCE_ENCODING.bind_call(text, Encoding::UTF_8))
      text = GSUB.bind_call(text, OWN_FRAMES_AND_END, '')
      Host.log("#{text}\n")
      text
    end
  end
end

TriplaneLauncher::Launcher.new.start
