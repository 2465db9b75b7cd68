// Draw, post the drawing, show what the models say; while one request is under way, only the
// latest drawing waits.

const PEN = 40; // of the paper's 560: as thick as MNIST's strokes
const SENT = 280; // pixels of a side of what is sent of a drawing
const STEP = 20; // of an arrow key
const PAUSE = 700; // milliseconds of rest before the guesses are read aloud
const MAXIMUM_BYTES = 8 * 2 ** 20; // what the server takes
const TYPES = ["image/png", "image/jpeg", "image/bmp"]; // as well

const byId = (id) => document.getElementById(id);
const paper = byId("paper");
const message = byId("message"); // what went wrong
const spoken = byId("spoken"); // for screen readers
const list = byId("guesses");
const ink = paper.getContext("2d");
const cards = [];
let isBlank = true;
const strokes = new Map(); // by pointer: where it was
let pen = { x: paper.width / 2, y: paper.height / 2, down: false }; // of the keyboard
let waiting = null;
let isAsking = false;
let reading = 0;

function element(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent.append(made);
  return made;
}

function addCard({ model, bytes, runtime }) {
  const item = element("li", "", list);
  element("div", "name", item).textContent = model;
  const card = { bytes, runtime, label: element("div", "class", item), bars: [] };
  card.chart = element("div", "bars", item);
  card.chart.setAttribute("aria-hidden", "true"); // the facts say it
  card.facts = element("div", "facts", item);
  cards.push(card);
}

function size(bytes) {
  return `${bytes.toLocaleString("en")} bytes`;
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

function show(guess, card) {
  while (card.bars.length < guess.probabilities.length) {
    const column = element("div", "bar", card.chart);
    const bar = element("div", "", column);
    element("span", "", column).textContent = card.bars.length;
    card.bars.push({ column, bar });
  }
  guess.probabilities.forEach((probability, index) => {
    const { column, bar } = card.bars[index];
    bar.style.height = `${80 * probability}%`;
    column.classList.toggle("best", String(index) === guess.class);
  });
  card.label.textContent = guess.class;
  const time = guess.microseconds.toLocaleString("en", { maximumFractionDigits: 1 });
  card.facts.textContent = `${percent(guess.probability)}, ${time} µs, ${size(card.bytes)}`;
}

function showNothing() {
  for (const card of cards) {
    card.label.textContent = "–";
    card.facts.textContent = `${size(card.bytes)}, ${card.runtime}`;
    for (const { column, bar } of card.bars) {
      bar.style.height = "0";
      column.classList.remove("best");
    }
  }
}

function speak(text) {
  clearTimeout(reading);
  spoken.textContent = text;
}

function speakOfGuesses(guesses) {
  clearTimeout(reading);
  reading = setTimeout(() => {
    spoken.textContent = guesses
      .map((guess) => `${guess.model}: ${guess.class}, ${percent(guess.probability)}`)
      .join("; ");
  }, PAUSE);
}

function copy(picture, width, height) {
  const canvas = new OffscreenCanvas(Math.ceil(width), Math.ceil(height));
  canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob();
}

// Ask about what `image` gives when its turn comes.
async function ask(image) {
  waiting = image;
  list.setAttribute("aria-busy", "true");
  if (isAsking) return;
  isAsking = true;
  while (waiting) {
    const next = waiting;
    waiting = null;
    await answer(await next());
  }
  isAsking = false;
  list.setAttribute("aria-busy", "false");
}

async function answer(blob) {
  try {
    const headers = { "Content-Type": blob.type };
    const response = await fetch("/classify", { method: "POST", body: blob, headers });
    const { guesses, error } = await response.json();
    if (isBlank) return;
    if (error) {
      message.textContent = error;
      return;
    }
    message.textContent = "";
    guesses.forEach((guess, index) => show(guess, cards[index]));
    speakOfGuesses(guesses);
  } catch (error) {
    message.textContent = `The server does not answer: ${error.message}`;
  }
}

function clear() {
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, paper.width, paper.height);
  isBlank = true;
  waiting = null;
  pen.down = false;
  strokes.clear();
  showNothing();
  message.textContent = "";
  speak("");
}

function draw(from, to) {
  if (isBlank) clear();
  isBlank = false;
  ink.strokeStyle = "#000";
  ink.lineWidth = PEN;
  ink.lineCap = "round";
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
  ask(() => copy(paper, SENT, SENT));
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * paper.width,
    y: ((event.clientY - box.top) / box.height) * paper.height,
  };
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  const point = place(event);
  draw(point, point);
  strokes.set(event.pointerId, point);
});

paper.addEventListener("pointermove", (event) => {
  for (const each of event.getCoalescedEvents?.() ?? [event]) {
    const before = strokes.get(event.pointerId);
    if (!before) return;
    const point = place(each);
    draw(before, point);
    strokes.set(event.pointerId, point);
  }
});

for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, (event) => strokes.delete(event.pointerId));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

paper.addEventListener("keydown", (event) => {
  if (event.key === " ") {
    pen.down = !pen.down;
    speak(pen.down ? "Pen down" : "Pen up");
    if (pen.down) {
      draw(pen, pen);
      pen.down = true;
    }
  } else if (event.key === "Escape") {
    clear();
  } else if (event.key in ARROWS) {
    const [right, down] = ARROWS[event.key];
    const inside = (value) => Math.min(Math.max(value, PEN / 2), paper.width - PEN / 2);
    const next = { ...pen, x: inside(pen.x + right * STEP), y: inside(pen.y + down * STEP) };
    if (pen.down) draw(pen, next);
    else speak(`Pen at ${Math.round((100 * next.x) / paper.width)} % from the left, ` +
      `${Math.round((100 * next.y) / paper.height)} % from the top`);
    pen = next;
  } else {
    return;
  }
  event.preventDefault();
});

async function take(file) {
  clear();
  isBlank = false;
  const isTaken = TYPES.includes(file.type) && file.size <= MAXIMUM_BYTES;
  if (isTaken) ask(() => file);
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(paper.width / picture.width, paper.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    ink.drawImage(picture, (paper.width - width) / 2, (paper.height - height) / 2, width, height);
    if (!isTaken) ask(() => copy(picture, width, height));
  } catch {
    if (!isTaken) message.textContent = `${file.name} is no image that can be read.`;
  }
}

byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file);
  event.target.value = "";
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  paper.classList.add("over");
});
addEventListener("dragleave", () => paper.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  paper.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) take(file);
});

byId("clear").addEventListener("click", clear);

const { models } = await (await fetch("/models")).json();
models.forEach(addCard);
clear();
