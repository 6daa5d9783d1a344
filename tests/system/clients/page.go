import "net"
import "time"

func SendUDPMessage(port int, msg string) (string, bool) {
	conn, _ := net.DialUDP("udp", nil, &net.UDPAddr{Port: port})
	defer conn.Close()
	conn.Write([]byte(msg))
	conn.SetReadDeadline(
        time.Now().Add(time.Millisecond * 100)) // 100 ms read timeout
	buffer := make([]byte, 1024)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err == nil
}
