"""What ``python -m sglang.launch_server`` runs."""

from engine_standins import main

if __name__ == "__main__":
    main("sglang")
