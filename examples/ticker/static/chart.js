// A line chart as SVG: a scale with its unit on the left, the time of day below.
// It must not know where values come from, or what they measure.
const MARGIN = { top: 32, right: 18, bottom: 30, left: 46 };
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LABEL_WIDTH = 84;

/** The step among 1, 2 and 5 times a power of ten that cuts `span` into `count` parts at most. */
function niceStep(span, count) {
  const power = 10 ** Math.floor(Math.log10(span / count));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => span / step <= count);
}

function multiples(low, high, step) {
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

/** Draws `points`, each [seconds, value], the last one at the right edge of `windowSeconds`; the scale spans `leastSpan` or more. */
export function draw(svg, points, { windowSeconds, unit, leastSpan }) {
  const { clientWidth: width, clientHeight: height } = svg;
  const values = points.map(([, value]) => value);
  const spare = Math.max(0, leastSpan - Math.max(...values) + Math.min(...values)) / 2;
  const [least, most] = [Math.min(...values) - spare, Math.max(...values) + spare];
  const step = niceStep(most - least, 5);
  const [low, high] = [Math.floor(least / step - 0.2) * step, Math.ceil(most / step + 0.2) * step];
  const end = points.at(-1)[0], begin = end - windowSeconds;
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const x = (seconds) => left + ((seconds - begin) / windowSeconds) * (right - left);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const timeStep = TIME_STEPS.find((seconds) => (seconds / windowSeconds) * (right - left) >= LABEL_WIDTH) ?? windowSeconds;
  const digits = step < 1 ? 1 : 0;
  const rows = multiples(low, high, step).map((value) =>
    `<path class="grid" d="M${left} ${y(value)}H${right}"/><text class="scale" x="${left - 8}" y="${y(value)}">${value.toFixed(digits)}</text>`);
  const columns = multiples(begin, end, timeStep).map((seconds) => {
    const inside = Math.min(Math.max(x(seconds), left + 12), right - 12);
    return `<path class="grid" d="M${x(seconds)} ${bottom}v6"/><text class="time" x="${inside}" y="${bottom + 21}">${clock(seconds)}</text>`;
  });
  const line = points.map(([seconds, value]) => `${x(seconds).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const [lastX, lastY] = [x(end), y(values.at(-1))];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = `<text class="scale" x="${left - 8}" y="9">${unit}</text>
    <path class="area" d="M${line}L${lastX} ${bottom}L${x(points[0][0])} ${bottom}Z"/>
    ${rows.join("")}${columns.join("")}<path class="line" d="M${line}"/><circle cx="${lastX}" cy="${lastY}" r="4.5"/>`;
}
