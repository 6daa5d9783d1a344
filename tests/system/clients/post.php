function send_udp_message($port, $message) {
$sock = socket_create(AF_INET, SOCK_DGRAM, SOL_UDP);
socket_sendto($sock, $message, strlen($message), 0, 'localhost', $port);
socket_close($sock);
}
