/* The page. */

if (given.compared) {
  document.title = given.compared.map((data) => data.title).join(" and ");
  comparison(...given.compared);
} else {
  document.title = `${given.model.name}: sardonyx report`;
  headline(given);
  words(given);
  program(given);
  memory(given);
  quantization(given);
  optimizer(given);
}
