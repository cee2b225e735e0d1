"""Sends numbered datagrams in one burst while the lab stands still, or says how they came: their lengths by call."""
import os, signal, socket, sys

PORT = 47114
UDP_GRO = 104
LENGTHS = [64] * 70 + [1400] * 5 + [30] + [64] * 10
if sys.argv[1] == "receive":
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("", PORT))
    if sys.argv[2] == "large":
        server.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    server.settimeout(5)
    print("listening")
    came, calls = b"", []
    while len(came) < sum(LENGTHS):
        data = server.recv(1 << 16)
        came += data
        calls.append(len(data))
    assert came == b"".join(bytes([n]) * length for n, length in enumerate(LENGTHS)), "in order, nothing lost"
    assert sys.argv[2] == "large" or calls == LENGTHS, calls
    print("most at once", max(calls))
else:
    address, lab = sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.connect((address, PORT))
    os.kill(lab, signal.SIGSTOP)
    try:
        for n, length in enumerate(LENGTHS):
            client.send(bytes([n]) * length)
    finally:
        os.kill(lab, signal.SIGCONT)
