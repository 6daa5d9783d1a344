function send_udp_message(int $port, string $message): ?string {
    $socket = socket_create(AF_INET, SOCK_DGRAM, SOL_UDP);
    // 100ms timeout for reading
    socket_set_option($socket, SOL_SOCKET, SO_RCVTIMEO, ['sec' => 0, 'usec' => 100000]);
    socket_sendto($socket, $message, strlen($message), 0, '127.0.0.1', $port);
    $buf = ''; $from = ''; $fromPort = 0;
    $bytes = socket_recvfrom($socket, $buf, 1024, 0, $from, $fromPort);
    socket_close($socket);
    return $bytes === false ? null : $buf;
}
