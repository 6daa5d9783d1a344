require 'socket'
require 'timeout'

def send_udp_message(port, message)
  socket = UDPSocket.new
  begin
    socket.send(message, 0, '127.0.0.1', port)
    Timeout.timeout(0.1) do
      data, _ = socket.recvfrom(1024)
      return data
    end
  rescue Timeout::Error
    return nil
  ensure
    socket.close
  end
end
