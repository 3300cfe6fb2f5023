"""The script that backupctl replaces, as one would write it: download, unzip, pg_restore, one after the other.

It goes into a fresh database, proves nothing and tells nobody.
"""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import paramiko

port, user, key, known_hosts, remote, directory, bin_dir, database, jobs = sys.argv[1:]
directory = pathlib.Path(directory)
archive = directory / "archive.zip"

client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
client.connect("127.0.0.1", int(port), user, key_filename=key, look_for_keys=False, allow_agent=False)
with client.open_sftp() as sftp:
    sftp.get(remote, str(archive))
client.close()

dump = directory / "script.dump"
with zipfile.ZipFile(archive) as opened:
    (entry,) = opened.infolist()
    with opened.open(entry) as source, open(dump, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)

subprocess.run([f"{bin_dir}/createdb", database], check=True)
subprocess.run([f"{bin_dir}/pg_restore", "--exit-on-error", "-j", jobs, "-d", database, str(dump)], check=True)
