// A client of adcaptum in TypeScript, from the .proto files alone.
//
//   npm install && npx tsc && node build/explain.js 127.0.0.1:8500 ../../../proto
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

interface Tensor {
  name: string;
  datatype: string;
  shape: number[];
  data: Buffer;
}

interface Explanation {
  example: number;
  label: string;
  output: number;
  attributions: { values: Tensor }[];
}

interface ExplainResponse {
  results: { method: { name: string }; explanations: Explanation[] }[];
  features: { input: string; example: number; names: string[] }[];
  requestId: string;
}

/** Encodes texts: each with its length in four bytes, little-endian, before it. */
function texts(values: string[]): object {
  const data = values.flatMap((value) => {
    const bytes = Buffer.from(value, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  return { datatype: "BYTES", shape: [values.length], data: Buffer.concat(data) };
}

/** Decodes a tensor of float32. */
function floats(tensor: Tensor): number[] {
  const count = tensor.data.length / 4;
  return Array.from({ length: count }, (_, place) => tensor.data.readFloatLE(4 * place));
}

const [address = "127.0.0.1:8500", protos = "../../../proto"] = process.argv.slice(2);
const definition = loadSync("adcaptum/v1/explanation_service.proto", {
  includeDirs: [protos],
  enums: String,
  longs: String,
  defaults: true,
});
const loaded = grpc.loadPackageDefinition(definition) as any;
const client = new loaded.adcaptum.v1.ExplanationService(
  address,
  grpc.credentials.createInsecure(),
);

const request = {
  model: { name: "reviews" },
  inputs: [texts(["A gripping film."])],
  spec: {
    methods: [{ name: "integrated_gradients", params: { n_steps: { numberValue: 50 } } }],
    targets: [{ label: "positive" }],
  },
};
const deadline = Date.now() + 30_000;

client.Explain(request, { deadline }, (error: grpc.ServiceError | null, reply: ExplainResponse) => {
  if (error) {
    console.error(grpc.status[error.code], error.details);
    process.exitCode = 1;
  } else {
    for (const { method, explanations } of reply.results) {
      for (const { example, label, output, attributions } of explanations) {
        console.log(`${method.name}: why "${label}" (${output})`);
        const tokens = reply.features.find((each) => each.example === example)?.names ?? [];
        floats(attributions[0].values).forEach((value, place) =>
          console.log(tokens[place], value.toFixed(4)),
        );
      }
    }
  }
  client.close();
});
