import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

const ember: MantineColorsTuple = [
  "#fdf1ea",
  "#f9dfd1",
  "#f2bda3",
  "#eb9972",
  "#e57b4a",
  "#d9622e",
  "#c04d1e",
  "#b0431e",
  "#93381a",
  "#742c15",
];
const pine: MantineColorsTuple = [
  "#eaf5f0",
  "#d3e8de",
  "#a6d1be",
  "#76b99b",
  "#4fa57f",
  "#379470",
  "#2a8060",
  "#1f6a4f",
  "#185640",
  "#114231",
];
const gray: MantineColorsTuple = [
  "#faf7f2",
  "#f3eee7",
  "#e9e2d8",
  "#ddd4c8",
  "#cbc0b2",
  "#a99e91",
  "#857a6e",
  "#5f564c",
  "#423b34",
  "#2a2520",
];
const dark: MantineColorsTuple = [
  "#efe9e1",
  "#cfc6bb",
  "#b3a99d",
  "#8d8378",
  "#4a423a",
  "#39322c",
  "#26211d",
  "#171412",
  "#120f0e",
  "#0c0a09",
];

export const theme = createTheme({
  primaryColor: "ember",
  primaryShade: { light: 7, dark: 6 },
  colors: { ember, pine, gray, dark },
  black: "#26211c",
  defaultRadius: "md",
  respectReducedMotion: true,
  fontFamily: "var(--sans)",
  headings: { fontFamily: "var(--serif)", fontWeight: "600" },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#faf7f2",
    "--mantine-color-dimmed": "#655b50",
    "--mantine-color-placeholder": "#74695d",
    "--mantine-color-error": "#b3261e",
    "--mantine-color-default-border": "#94887b",
  },
  dark: {
    "--mantine-color-body": "#171412",
    "--mantine-color-dimmed": "#b9afa3",
    "--mantine-color-placeholder": "#a0968a",
    "--mantine-color-error": "#ff9d8f",
    "--mantine-color-default-border": "#776d62",
  },
});
