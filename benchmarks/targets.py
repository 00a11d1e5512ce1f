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
OPTION = 1.1  # at most, relative to the plain pass
IMPORT_SECONDS = 0.15  # at most
WHEEL_BYTES = 3_000_000  # at most
MEMORY = 1.25  # at most, relative to what training must hold
MEMORY_TO_TORCH = 0.5  # at most
JAPANESE_VOWELS = 8.0  # at least, torch's time over grus's
