import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * A proxyless gRPC client in Java. Reads "calls N" from standard input and answers one JSON line: how many calls
 * each backend answered, and how many failed. Usage: Client TARGET, with GRPC_XDS_BOOTSTRAP set.
 */
public final class Client {
  /** No generated code: messages are bytes. */
  private static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
    @Override
    public InputStream stream(byte[] value) {
      return new ByteArrayInputStream(value);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  };

  private static final MethodDescriptor<byte[], byte[]> WHO = MethodDescriptor.newBuilder(BYTES, BYTES)
      .setType(MethodDescriptor.MethodType.UNARY).setFullMethodName("acc.Echo/Who").build();

  public static void main(String[] args) throws IOException {
    // grpc-xds in the class path is all that xds:/// targets need.
    ManagedChannel channel = Grpc.newChannelBuilder(args[0], InsecureChannelCredentials.create()).build();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      System.out.println(calls(channel, Integer.parseInt(line.split(" ")[1])));
    }
    channel.shutdownNow();
  }

  private static String calls(ManagedChannel channel, int n) {
    Map<String, Integer> by = new TreeMap<>();
    int errors = 0;
    String last = "";
    for (int i = 0; i < n; i++) {
      CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(5, TimeUnit.SECONDS);
      try {
        byte[] name = ClientCalls.blockingUnaryCall(channel, WHO, options, new byte[0]);
        by.merge(new String(name, StandardCharsets.UTF_8), 1, Integer::sum);
      } catch (StatusRuntimeException e) {
        errors++;
        last = e.getStatus().toString();
      }
    }
    StringBuilder out = new StringBuilder("{\"by\":{");
    String comma = "";
    for (Map.Entry<String, Integer> e : by.entrySet()) {
      out.append(comma).append(quote(e.getKey())).append(":").append(e.getValue());
      comma = ",";
    }
    return out.append("},\"errors\":").append(errors).append(",\"last\":").append(quote(last)).append("}").toString();
  }

  private static String quote(String s) {
    return '"' + s.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + '"';
  }
}
