// Make the nodes of a workflow and their wires, each of the size that it wants; the graph as the page saves it.
async ({columns, settings}) => {
  const made = {};
  const pause = (time) => new Promise((done) => setTimeout(done, time));
  const wishes = columns.flatMap(([, nodes]) => nodes);
  for (const wish of wishes) {
    const node = LiteGraph.createNode(wish.type);
    if (!node) throw new Error(`no node type ${wish.type}`);
    if (wish.title) node.title = wish.title;
    if (wish.models.length) node.properties.models = wish.models;
    app.graph.add(node);
    const values = { ...(wish.stage ? settings[wish.stage] : {}), ...wish.values };
    for (const [name, value] of Object.entries(values)) {
      const widget = name ? node.widgets.find((w) => w.name === name) : node.widgets[0];
      if (!widget && wish.values[name] !== undefined) throw new Error(`${wish.type} has no ${name}`);
      if (widget) widget.value = value;
    }
    for (const [input, [from, output]] of Object.entries(wish.wires)) {
      const source = made[from];
      const slot = source.outputs.findIndex((o) => o.name === output);
      const target = node.inputs.findIndex((i) => i.name === input);
      if (slot < 0 || target < 0) throw new Error(`no wire ${from}.${output} -> ${wish.type}.${input}`);
      source.connect(slot, node, target);
      await pause(30);
    }
    made[wish.name] = node;
  }
  await pause(1000);
  for (const wish of wishes) {
    const node = made[wish.name], least = node.computeSize();
    const panel = node.widgets?.some((w) => w.element && w.serialize === false) ? 6 : 0;
    node.setSize([Math.max(least[0], 320), Math.max(least[1] + panel, wish.height)]);
  }
  const saved = app.graph.serialize();
  saved.extra = {};
  return JSON.stringify(saved); // as the page writes it to a file: what is undefined is left out
}
