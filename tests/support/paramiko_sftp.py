"""An SFTP server as programs make themselves one with paramiko: no extensions, and replies of its own kind.

DIRECTORY: prints its port and its public host key, serves whoever comes, and ends with its standard input.
"""

import os
import socket
import sys
import threading

import paramiko

ROOT = os.fsencode(sys.argv[1])
HOST_KEY = paramiko.ECDSAKey.generate()


class Anybody(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username):
        return "password"

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class Files(paramiko.SFTPServerInterface):
    def path(self, name):
        return os.path.join(ROOT, os.fsencode(self.canonicalize(name)).lstrip(b"/"))

    def list_folder(self, path):
        try:
            folder = self.path(path)
            found = []
            for name in os.listdir(folder):
                stat = os.lstat(os.path.join(folder, name))
                # As bytes: a name that is no UTF-8 would end the listing.
                found.append(paramiko.SFTPAttributes.from_stat(stat, name))
            return found
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def stat(self, path, look=os.stat):
        try:
            return paramiko.SFTPAttributes.from_stat(look(self.path(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def lstat(self, path):
        return self.stat(path, os.lstat)

    def open(self, path, flags, attr):
        try:
            # Not buffered: what is appended to a file that is open shows.
            file = open(self.path(path), "rb", buffering=0)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = Handle(flags)
        handle.readfile = file
        return handle


class Handle(paramiko.SFTPHandle):
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def serve(client):
    transport = paramiko.Transport(client)
    transport.add_server_key(HOST_KEY)
    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
    try:
        transport.start_server(server=Anybody())
    except (paramiko.SSHException, EOFError):
        pass


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], HOST_KEY.get_name(), HOST_KEY.get_base64(), flush=True)


def accept():
    while True:
        serve(listener.accept()[0])


threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
os._exit(0)
