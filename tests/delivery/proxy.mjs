// A TCP proxy whose connections can be cut: neither end is told of it by the other.
// It must not know what passes through.

import net from "node:net";

export class Proxy {
  open = new Set();

  /** Resolves to a URL that leads to the given one. */
  async listen(url) {
    const { hostname, port } = new URL(url);
    this.server = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);
      const pair = [near, far];
      this.open.add(pair);
      for (const [from, to] of [pair, [far, near]]) {
        from.setNoDelay(true);
        from.pipe(to);
        from.on("error", () => {});
        from.on("close", () => {
          this.open.delete(pair);
          to.destroySoon();
        });
      }
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  /** Both ends get a reset; what was on its way is lost. Returns how many connections there were. */
  cut() {
    const pairs = [...this.open];
    this.open.clear();
    for (const socket of pairs.flat()) socket.resetAndDestroy();
    return pairs.length;
  }
}
