"""Sends bytes for a time over TCP, or receives them; prints how many and their SHA-256. It may pause after each block."""
import hashlib, os, socket, sys, time

# Nothing that Wireshark takes for a protocol of its own.
PORT = 47113
digest = hashlib.sha256()
count = 0
if sys.argv[1] == "receive":
    server = socket.create_server(("", PORT))
    print("listening")
    stream, _ = server.accept()
    while block := stream.recv(1 << 20):
        digest.update(block)
        count += len(block)
else:
    stream = socket.create_connection((sys.argv[2], PORT))
    print("sending")
    chance = os.urandom(1 << 20)
    end = time.monotonic() + float(sys.argv[3])
    pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0
    while time.monotonic() < end:
        # Another piece each time, so that one in the wrong place shows.
        at = count % 999983
        block = chance[at : at + (1 << 17)]
        stream.sendall(block)
        digest.update(block)
        count += len(block)
        if pause:
            time.sleep(pause)
    stream.close()
print(count, digest.hexdigest())
