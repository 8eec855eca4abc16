import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

/** Many turns taken at once, and what came of them. */
final class Turns {
  private static final int THREADS = 16;
  private static final int EACH = 25;

  /** What is done in a turn; the answer is its outcome. */
  interface Turn {
    String take(int number) throws Exception;
  }

  private Turns() {}

  /** Takes 400 turns, 16 at a time, and prints how often each outcome came; a failure is one. */
  static void take(String kind, Turn turn) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    try {
      List<Future<String>> taken = new ArrayList<>();
      for (int number = 0; number < THREADS * EACH; number++) {
        int mine = number;
        taken.add(threads.submit(() -> outcome(turn, mine)));
      }
      Map<String, Integer> outcomes = new TreeMap<>();
      for (Future<String> one : taken) {
        outcomes.merge(one.get(), 1, Integer::sum);
      }
      String told = outcomes.entrySet().stream()
          .map(outcome -> outcome.getValue() + " " + outcome.getKey())
          .collect(Collectors.joining("; "));
      System.out.println(kind + ": " + told);
    } finally {
      threads.shutdownNow();
    }
  }

  private static String outcome(Turn turn, int number) {
    try {
      return turn.take(number);
    } catch (Exception lost) {
      return "lost by " + lost;
    }
  }
}
