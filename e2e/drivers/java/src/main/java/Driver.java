import com.tencent.polaris.api.core.ConsumerAPI;
import com.tencent.polaris.api.core.ProviderAPI;
import com.tencent.polaris.api.listener.ServiceListener;
import com.tencent.polaris.api.pojo.Instance;
import com.tencent.polaris.api.pojo.ServiceChangeEvent;
import com.tencent.polaris.api.rpc.GetAllInstancesRequest;
import com.tencent.polaris.api.rpc.GetOneInstanceRequest;
import com.tencent.polaris.api.rpc.InstanceDeregisterRequest;
import com.tencent.polaris.api.rpc.InstanceHeartbeatRequest;
import com.tencent.polaris.api.rpc.InstanceRegisterRequest;
import com.tencent.polaris.api.rpc.UnWatchServiceRequest;
import com.tencent.polaris.api.rpc.WatchServiceRequest;
import com.tencent.polaris.client.api.SDKContext;
import com.tencent.polaris.factory.ConfigAPIFactory;
import com.tencent.polaris.factory.api.DiscoveryAPIFactory;
import com.tencent.polaris.factory.config.ConfigurationImpl;
import com.tencent.polaris.factory.config.provider.ProviderConfigImpl;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.net.ServerSocket;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Drives polaris-java by lines on standard input; answers one JSON line each on
 * standard output. Usage: Driver host:port. With POLARIS_CA_FILE, POLARIS_CERT_FILE and POLARIS_KEY_FILE it speaks TLS.
 *
 * <p>A line that begins with "as TOKEN" (- for none) is run by an application of its own with that token, which lives as
 * long as the driver: one virtual machine has room for several.
 */
public final class Driver {
  private static final String NS = "default";

  public static void main(String[] args) throws Exception {
    Map<String, Application> applications = new HashMap<>();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] w = line.trim().split(" ");
      String token = "-";
      if (w[0].equals("as")) {
        token = w[1];
        w = Arrays.copyOfRange(w, 2, w.length);
      }
      try {
        if (!applications.containsKey(token)) {
          applications.put(token, new Application(args[0], token));
        }
        Application a = applications.get(token);
        System.out.println(answer(a.provider, a.consumer, w));
      } catch (Exception e) {
        e.printStackTrace();
        System.out.println("{\"error\":" + quote(String.valueOf(e)) + "}");
      }
      System.out.flush();
    }
    applications.values().forEach(a -> a.context.close());
    System.exit(0);
  }

  /** An SDK with its own connections, cache and beats. */
  private static final class Application {
    final SDKContext context;
    final ProviderAPI provider;
    final ConsumerAPI consumer;

    Application(String server, String token) throws Exception {
      ConfigurationImpl config = (ConfigurationImpl) ConfigAPIFactory.defaultConfig();
      config.setDefault();
      config.getGlobal().getServerConnector().setAddresses(List.of(server));
      if (!token.equals("-")) {
        config.getGlobal().getServerConnector().setToken(token);
      }
      if (System.getenv("POLARIS_CA_FILE") != null) {
        config.getGlobal().getServerConnector().setTrustedCAFile(System.getenv("POLARIS_CA_FILE"));
        config.getGlobal().getServerConnector().setCertFile(System.getenv("POLARIS_CERT_FILE"));
        config.getGlobal().getServerConnector().setKeyFile(System.getenv("POLARIS_KEY_FILE"));
      }
      // The defaults are a second or less; the first call of a cold JVM on a busy machine takes longer.
      config.getGlobal().getAPI().setTimeout(15_000);
      config.getGlobal().getServerConnector().setConnectTimeout(5_000L);
      config.getGlobal().getServerConnector().setMessageTimeout(15_000L);
      config.getConsumer().getLocalCache().setPersistEnable(false);
      // Each has an HTTP door, on all addresses and one port by default; 0 is not taken.
      try (ServerSocket free = new ServerSocket(0)) {
        config.getGlobal().getAdmin().setHost("127.0.0.1");
        config.getGlobal().getAdmin().setPort(free.getLocalPort());
      }
      // 30 s by default, and without a setter.
      Field interval = ProviderConfigImpl.class.getDeclaredField("minRegisterInterval");
      interval.setAccessible(true);
      interval.setLong(config.getProvider(), 1_000);
      context = SDKContext.initContextByConfig(config);
      context.init();
      provider = DiscoveryAPIFactory.createProviderAPIByContext(context);
      consumer = DiscoveryAPIFactory.createConsumerAPIByContext(context);
    }
  }

  private static String answer(ProviderAPI provider, ConsumerAPI consumer, String[] w) throws Exception {
    switch (w[0]) {
      case "register":
        // w[6] = auto: the SDK beats by itself.
        return "{\"id\":" + quote(register(provider, w, w.length > 6)) + "}";
      case "together":
        return together(provider, w);
      case "heartbeat": {
        InstanceHeartbeatRequest r = new InstanceHeartbeatRequest();
        r.setNamespace(NS);
        r.setService(w[1]);
        r.setHost(w[2]);
        r.setPort(Integer.parseInt(w[3]));
        provider.heartbeat(r);
        return "{}";
      }
      case "deregister": {
        InstanceDeregisterRequest r = new InstanceDeregisterRequest();
        r.setNamespace(NS);
        r.setService(w[1]);
        r.setHost(w[2]);
        r.setPort(Integer.parseInt(w[3]));
        provider.deRegister(r);
        return "{}";
      }
      case "all": {
        GetAllInstancesRequest r = new GetAllInstancesRequest();
        r.setNamespace(NS);
        r.setService(w[1]);
        return instances(consumer.getAllInstance(r).getInstances());
      }
      case "one": {
        GetOneInstanceRequest r = new GetOneInstanceRequest();
        r.setNamespace(NS);
        r.setService(w[1]);
        return instances(consumer.getOneInstance(r).getInstances());
      }
      case "watch":
        return watch(consumer, w[1]);
      default:
        return "{\"error\":\"unknown command\"}";
    }
  }

  private static String register(ProviderAPI provider, String[] w, boolean beats) {
    InstanceRegisterRequest r = new InstanceRegisterRequest();
    r.setNamespace(NS);
    r.setService(w[1]);
    r.setHost(w[2]);
    r.setPort(Integer.parseInt(w[3]));
    r.setTtl(Integer.parseInt(w[4]));
    r.setWeight(Integer.parseInt(w[5]));
    r.setProtocol("grpc");
    r.setVersion("1.2.3");
    r.setRegion("r1");
    r.setZone("z1");
    r.setCampus("c1");
    r.setMetadata(Map.of("env", "test", "owner", "käthe"));
    return (beats ? provider.registerInstance(r) : provider.register(r)).getInstanceId();
  }

  /** Registers the same instance from several threads, with async-regis; all must succeed with the same id. */
  private static String together(ProviderAPI provider, String[] w) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try {
      List<Future<String>> all = pool.invokeAll(Collections.nCopies(8, () -> register(provider, w, true)));
      Set<String> ids = new HashSet<>();
      for (Future<String> one : all) {
        ids.add(one.get());
      }
      return ids.size() == 1 ? "{}" : "{\"error\":" + quote("one instance has the ids " + ids) + "}";
    } finally {
      pool.shutdown();
    }
  }

  /** Answers when the listener is told of a change. */
  private static String watch(ConsumerAPI consumer, String service) throws InterruptedException {
    BlockingQueue<ServiceChangeEvent> events = new LinkedBlockingQueue<>();
    List<ServiceListener> listeners = List.of(events::add);
    consumer.watchService(WatchServiceRequest.builder().namespace(NS).service(service).listeners(listeners).build());
    ServiceChangeEvent e = events.poll(30, TimeUnit.SECONDS);
    consumer.unWatchService(UnWatchServiceRequest.UnWatchServiceRequestBuilder.anUnWatchServiceRequest()
        .namespace(NS).service(service).listeners(listeners).build());
    return e == null ? "{\"error\":\"no event\"}" : "{\"event\":" + quote(e.toString()) + "}";
  }

  private static String instances(Instance[] all) {
    StringBuilder b = new StringBuilder("{\"instances\":[");
    for (int n = 0; n < all.length; n++) {
      Instance i = all[n];
      b.append(n > 0 ? "," : "").append("{\"id\":").append(quote(i.getId()));
      b.append(",\"host\":").append(quote(i.getHost())).append(",\"port\":").append(i.getPort());
      b.append(",\"weight\":").append(i.getWeight()).append(",\"healthy\":").append(i.isHealthy());
      b.append(",\"isolated\":").append(i.isIsolated()).append(",\"protocol\":").append(quote(i.getProtocol()));
      b.append(",\"version\":").append(quote(i.getVersion())).append(",\"region\":").append(quote(i.getRegion()));
      b.append(",\"zone\":").append(quote(i.getZone())).append(",\"campus\":").append(quote(i.getCampus()));
      b.append(",\"metadata\":{");
      String comma = "";
      for (Map.Entry<String, String> e : new TreeMap<>(i.getMetadata()).entrySet()) {
        b.append(comma).append(quote(e.getKey())).append(":").append(quote(e.getValue()));
        comma = ",";
      }
      b.append("}}");
    }
    return b.append("]}").toString();
  }

  private static String quote(String s) {
    if (s == null) {
      return "null";
    }
    return "\"" + s.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }
}
