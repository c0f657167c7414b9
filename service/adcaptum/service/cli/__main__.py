"""The command line without its script: ``python -m adcaptum.service.cli``."""

from adcaptum.service.cli import main

if __name__ == "__main__":
    main()
