"""What grus is meant to reach on two cores: the only place for these numbers."""

# Case: how many times as long the fastest other library takes, forward and training.
FASTER_THAN_FASTEST = {
    "100,1,32,32": {"forward": 2.5, "training": 6.0},
    "100,1,128,128": {"forward": 1.8, "training": 3.0},
    "100,32,16,32": {"forward": 5.0, "training": 5.0},
    "100,32,64,128": {"forward": 1.8, "training": 2.0},
    "100,64,128,256": {"forward": 1.35, "training": 1.5},
    "50,64,256,512": {"forward": 1.3, "training": 1.45},
    "30,128,512,1024": {"forward": 1.1, "training": 1.3},
}
TWO_THREADS = 1.85  # at least, over one thread, where the batch is of 32 sequences or more
OPTION = 1.15  # at most, relative to the pass without it, unless it is named here:
OPTIONS = {
    "layer_norm": 1.4,
    "candidate": 1.3,
    "reset_after=False": 1.5,
    "trace": 1.1,
    "bidirectional": 1.1,
    "all together": 1.5,
}
OPTION_ELSEWHERE = 10.0  # at least, the same option in another library over grus, at the small case
STREAM_STEP = {"100,1,32,32": 1.5e-6, "100,1,128,128": 5e-6}  # at most, seconds
STREAM_ALLOCATIONS = 0  # at most
IMPORT_SECONDS = 0.15  # at most
WHEEL_BYTES = 3_000_000  # at most
MEMORY = 1.25  # at most, relative to what training must hold
MEMORY_TO_TORCH = 0.5  # at most
JAPANESE_VOWELS = 8.0  # at least, torch's time over grus's
