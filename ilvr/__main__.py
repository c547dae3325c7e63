import signal

from .cli import main

if callable(signal.getsignal(signal.SIGINT)):  # else it is ignored, as in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
raise SystemExit(main())
