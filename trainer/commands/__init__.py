"""The commands of `python -m trainer`, one file each; torch is imported when a command runs, not before."""

from trainer.commands import bench as bench
from trainer.commands import checkpoints as checkpoints
from trainer.commands import data as data
from trainer.commands import evaluate as evaluate
from trainer.commands import export as export
from trainer.commands import importing as importing
from trainer.commands import inspect as inspect
from trainer.commands import machine as machine
from trainer.commands import presets as presets
from trainer.commands import progress as progress
from trainer.commands import pull as pull
from trainer.commands import sample as sample
from trainer.commands import sft as sft
from trainer.commands import smoke as smoke
from trainer.commands import sync as sync
from trainer.commands import train as train

COMMANDS = (
    data,
    presets,
    train,
    progress,
    checkpoints,
    sync,
    pull,
    evaluate,
    sample,
    sft,
    export,
    importing,
    inspect,
    bench,
    machine,
    smoke,
)
