(() => {
  // What a chart shows at the pointer: the run's value, when it was, its commit, and what was new in it.
  const runs = document.querySelector("#runs tbody").rows;
  const tip = document.createElement("div");
  tip.className = "tip";
  const pin = document.createElement("div");
  pin.className = "pin";
  const points = new WeakMap();
  const read = (chart) => {
    if (!points.has(chart)) {
      const numbers = chart.querySelector(".line").getAttribute("d").match(/-?\d+/g).map(Number);
      const found = [];
      for (let at = 0, x = 0, y = 0; at + 1 < numbers.length; at += 2) {
        x += numbers[at];
        y += numbers[at + 1];
        found.push([x, y]);
      }
      points.set(chart, found);
    }
    return points.get(chart);
  };
  const amount = (chart, y) => {
    const { high, low, factor, unit } = chart.dataset;
    const value = (Number(high) - (y / 1000) * (high - low)) / Number(factor);
    const edge = y <= 0 ? "at least " : y >= 1000 ? "at most " : "";
    return `${edge}${Number(value.toPrecision(4))} ${unit}`.trim();
  };
  const tell = (event) => {
    const chart = event.target.closest && event.target.closest("svg.chart");
    if (!chart) {
      tip.remove();
      pin.remove();
      return;
    }
    const box = chart.getBoundingClientRect();
    const width = chart.viewBox.baseVal.width;
    const wanted = ((event.clientX - box.left) / box.width) * width;
    const off = (point) => Math.abs(point[0] - wanted);
    const [x, y] = read(chart).reduce((best, point) => (off(point) < off(best) ? point : best));
    const cells = [...runs[x].cells].map((cell) => cell.textContent);
    const marks = [...chart.querySelectorAll(".mark")]
      .filter((mark) => mark.getAttribute("d").startsWith(`M${x} `))
      .map((mark) => mark.textContent);
    tip.textContent = [
      `${amount(chart, y)}, ${cells[0]} ${cells[1]}`, ...(marks.length ? marks : [cells[3]]),
    ].filter(Boolean).join("\n");
    const plot = chart.closest(".plot");
    plot.append(pin, tip);
    const left = (x / width) * box.width;
    pin.style.left = `${left}px`;
    pin.style.top = `${(y / 1000) * box.height}px`;
    tip.style.top = `${box.height + 4}px`;
    tip.style.left = `${Math.max(0, Math.min(left - tip.offsetWidth / 2, box.width - tip.offsetWidth))}px`;
  };
  document.addEventListener("pointermove", tell);
  document.addEventListener("pointerdown", tell); // a finger that does not move
})();
