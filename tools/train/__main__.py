"""From the data folder to the bundled models in one command:

    python tools/train --data DIR --out models/

Stages that are done are not repeated: embeddings and checkpoints are kept in the work folder, and
a run that was interrupted continues from its last checkpoint.
"""

import argparse
import pathlib
import sys

import torch

import recipe


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tools/train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted(recipe.FIRST_STAGES)
    path = pathlib.Path
    parser.add_argument("--data", type=path, required=True, help="folder that holds the training data (README.md)")
    parser.add_argument("--out", type=path, required=True, help="folder the model directories are written to")
    parser.add_argument(
        "--work", type=path, default=path("build/train"), help="embeddings and checkpoints (default: build/train)"
    )
    parser.add_argument("--models", nargs="+", choices=names, default=names, help="students to train (default: all)")
    parser.add_argument(
        "--first-stage",
        type=path,
        help="folder of packed models to refine, instead of training the first stage (for example models/ of a commit);"
        " only of models that have a second stage",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="groups of a step computed at a time; the result is the same for any number (default: 2)",
    )
    parser.add_argument(
        "--export-only", action="store_true", help="write the latest checkpoints as they are, without training"
    )
    return parser.parse_args()


def train(arguments: argparse.Namespace, starts: pathlib.Path) -> bool:
    """The stages of all models asked for; False if it was stopped."""
    data, work, threads = arguments.data, arguments.work, arguments.threads
    if not arguments.first_stage and not all(recipe.train(name, data, work, threads) for name in arguments.models):
        return False
    refined = [name for name in arguments.models if name in recipe.REFINEMENTS]
    return all(recipe.refine(name, starts / name, data, work, threads) for name in refined)


def main() -> int:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    starts = arguments.first_stage or recipe.first_stages(arguments.work)
    if not arguments.export_only and not train(arguments, starts):
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 1
    for name in arguments.models:
        recipe.export(name, starts / name, arguments.work, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
