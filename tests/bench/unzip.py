"""What a script does with a ZIP: its only entry, streamed into a file."""

import pathlib
import shutil
import sys
import zipfile

archive, directory = sys.argv[1:]
with zipfile.ZipFile(archive) as opened:
    (entry,) = opened.infolist()
    target = pathlib.Path(directory, pathlib.PurePath(entry.filename).name)
    with opened.open(entry) as source, open(target, "wb") as dump:
        shutil.copyfileobj(source, dump, 1 << 20)
